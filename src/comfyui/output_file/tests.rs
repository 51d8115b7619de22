use std::fs::{self, File};
use std::io::Cursor;

use super::*;

/// A folder of files, as the environment names it.
#[test]
#[ignore = "needs a folder of files: OUTPUT_FILES"]
fn a_folder_of_files() {
    for entry in fs::read_dir(std::env::var_os("OUTPUT_FILES").unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let found = embedded(&mut File::open(&path).unwrap());
        let is_json = |text: &Option<String>| {
            text.as_ref().map(|text| json::parse(text.as_bytes()).is_some())
        };
        match found {
            Ok(Some(found)) => println!(
                "{}: prompt {:?}, workflow {:?}",
                path.display(),
                is_json(&found.prompt),
                is_json(&found.workflow)
            ),
            other => println!("{}: {other:?}", path.display()),
        }
    }
}
