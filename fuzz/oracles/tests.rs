//! The corpus, by every build of the tests.

use std::fs;
use std::path::Path;

/// Every file of a subject's corpus holds, and there are some.
fn holds(subject: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(subject);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        // A failed assertion does not say of which file.
        let failed = std::panic::catch_unwind(|| property(&data)).is_err();
        assert!(!failed, "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{}: empty", folder.display());
}

#[test]
fn the_corpus_of_logs_holds() {
    holds("log", super::log);
}

#[test]
fn the_corpus_of_answers_holds() {
    holds("answers", super::answers);
}

#[test]
fn the_corpus_of_nvidia_smi_s_lines_holds() {
    holds("nvidia_smi", super::nvidia_smi);
}

#[test]
fn the_corpus_of_stories_holds() {
    holds("stories", super::stories);
}

#[test]
fn the_corpus_of_arguments_holds() {
    holds("arguments", super::arguments);
}

#[test]
fn the_corpus_of_the_websocket_holds() {
    holds("websocket", super::websocket);
}

#[test]
fn the_corpus_of_the_editor_s_format_holds() {
    holds("editor_format", super::editor_format);
}

#[test]
fn the_corpus_of_output_files_holds() {
    holds("output_file", super::output_file);
}
