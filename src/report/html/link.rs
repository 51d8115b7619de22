//! From a page to the files beside it: relative links, percent-encoded.

use std::path::{Component, Path};

use crate::sanitize::percent_encoded;

/// What stands before the path of a file in `folder` in a link of a page in `page_folder`: empty,
/// or it ends with a slash. Both folders are absolute.
pub fn to_folder(page_folder: &Path, folder: &Path) -> String {
    let climbs = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    // A browser resolves `..` by the text alone, which is another place behind a symbolic link.
    if (climbs(page_folder) || climbs(folder))
        && let (Ok(from), Ok(to)) = (page_folder.canonicalize(), folder.canonicalize())
    {
        return to_folder(&from, &to);
    }
    let (from, to): (Vec<_>, Vec<_>) =
        (page_folder.components().collect(), folder.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    // Without anything in common it is another drive.
    let mut link =
        if common == 0 { "file:///".to_owned() } else { "../".repeat(from.len() - common) };
    for part in &to[common..] {
        let name = part.as_os_str().as_encoded_bytes();
        match part {
            Component::RootDir => {}
            Component::Prefix(_) => link += &format!("{}/", String::from_utf8_lossy(name)),
            _ => link += &format!("{}/", percent_encoded(name)),
        }
    }
    link
}

/// The link to a file of the folder, by its path with forward slashes; `None` if that would leave
/// the folder.
pub(super) fn to_file(folder: &str, path: &str) -> Option<String> {
    let names = path.split('/').map(|name| {
        let leaves = matches!(name, "" | "." | "..") || name.contains(['\\', '\0']);
        (!leaves).then(|| percent_encoded(name))
    });
    Some(folder.to_owned() + &names.collect::<Option<Vec<_>>>()?.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(unix)]
    fn links_go_from_the_page_to_the_folder() {
        let link = |from: &str, to: &str| to_folder(Path::new(from), Path::new(to));
        assert_eq!(link("/logs/a", "/logs/a"), "");
        assert_eq!(link("/logs", "/logs/a b"), "a%20b/");
        assert_eq!(link("/logs/a/x", "/logs/b"), "../../b/");
        assert_eq!(link("/", "/grüße/%"), "gr%C3%BC%C3%9Fe/%25/");
        // `..` behind a link to a folder leads elsewhere than its text says.
        let folder = std::env::temp_dir().canonicalize().unwrap();
        let folder = folder.join(format!("links-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("far/off")).unwrap();
        let near = folder.join("near");
        std::os::unix::fs::symlink(folder.join("far/off"), &near).unwrap();
        assert_eq!(to_folder(&folder, &near.join("..")), "far/");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    #[cfg(windows)]
    fn another_drive_is_named() {
        let link = |from: &str, to: &str| to_folder(Path::new(from), Path::new(to));
        assert_eq!(link(r"C:\logs\a", r"C:\logs\b c"), "../b%20c/");
        assert_eq!(link(r"C:\logs", r"D:\b c"), "file:///D:/b%20c/");
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_no_link() {
        for path in ["../x", "a/../../x", "/etc/passwd", "a//b", "..\\x", "", "./a", "a/"] {
            assert_eq!(to_file("", path), None, "{path}");
        }
        let link = to_file("../run/", "video/a \"b\"/c#1?.mp4").unwrap();
        assert_eq!(link, "../run/video/a%20%22b%22/c%231%3F.mp4");
        assert_eq!(to_file("", "javascript:alert(1)").unwrap(), "javascript%3Aalert%281%29");
    }

    proptest! {
        #[test]
        fn a_link_stays_below_its_folder(path in "\\PC{0,30}|[./\\\\:a%]{0,12}") {
            if let Some(link) = to_file("", &path) {
                let safe = |c: char| c.is_ascii_alphanumeric() || "-._~%/".contains(c);
                prop_assert!(link.chars().all(safe), "{link}");
                prop_assert!(link.split('/').all(|name| !matches!(name, "" | "." | "..")));
            }
        }
    }
}
