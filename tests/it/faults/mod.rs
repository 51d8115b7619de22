//! The fault table of `docs/faults.md`: every row is played, and the page holds these rows.
//!
//! `FAULT=text cargo test --test it faults` plays only the rows whose name holds the text, or
//! one of several between `|`.

mod bench;
mod cancelling;
#[cfg(target_os = "linux")]
mod disk;
mod gone;
mod kinds;
mod outputs;
mod polling;
mod posting;
mod programs;
mod start;
mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use bench::{Row, What};

/// How many rows are played beside each other: nearly all of their time they wait.
const LANES: usize = if cfg!(windows) { 10 } else { 16 };

/// The page's sections with their rows.
fn sections() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("At every request", kinds::rows()),
        ("At the start", start::rows()),
        ("Posting", posting::rows()),
        ("While it runs", polling::rows()),
        ("A server that goes away", gone::rows()),
        ("Ending a prompt", cancelling::rows()),
        ("Bringing home", outputs::rows()),
        #[cfg(target_os = "linux")]
        ("The disk (played on Linux)", disk::rows()),
        ("Stories and programs", programs::rows()),
    ]
}

/// Plays rows, some beside each other; fails with all that are not as they should be.
fn play(rows: Vec<Row>) {
    let only = std::env::var("FAULT").unwrap_or_default();
    let asked = |name: &str| only.split('|').any(|part| name.contains(part));
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| asked(&row.name)).collect();
    rows.sort_by_key(|row| row.slow); // the last is taken first
    let (rows, failed): (_, Mutex<Vec<String>>) = (Mutex::new(rows), Mutex::new(Vec::new()));
    let next = || rows.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(row) = next() {
                    let begun = Instant::now();
                    let played = catch_unwind(AssertUnwindSafe(|| row.check()));
                    println!("{:6.1} s  {}", begun.elapsed().as_secs_f64(), row.name);
                    if let Err(why) = played {
                        let text = why.downcast_ref::<String>().map_or("", String::as_str);
                        let text = why.downcast_ref::<&str>().map_or(text, |text| text);
                        failed.lock().unwrap().push(format!("== {}\n{text}\n", row.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} rows failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_row_is_as_it_is_told() {
    play(sections().into_iter().flat_map(|(_, rows)| rows).collect());
}

#[test]
fn no_wrong_type_does_more_than_end_a_scene() {
    play(types::rows());
}

#[test]
fn the_page_has_these_rows() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let page = std::fs::read_to_string(page).unwrap();
    let page: String = page.chars().filter(|c| *c != '\r').collect();
    for (title, rows) in sections() {
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        lines.dedup();
        let (_, section) = page.split_once(&format!("## {title}\n")).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let missing = lines.iter().any(|line| !section.contains(line));
        let head = "| what goes wrong | what is printed | outcome | exit |\n|---|---|---|---|\n";
        assert!(!missing, "docs/faults.md: ## {title}\n\n{head}{}", lines.concat());
        // Some are played on Linux alone: there, nothing stands on the page that is not played.
        let is_row = |line: &&str| {
            line.rsplit(" | ")
                .next()
                .is_some_and(|end| end.trim_end_matches(" |").parse::<i32>().is_ok())
        };
        let told = section.lines().filter(is_row).count();
        assert!(
            told == lines.len() || cfg!(not(target_os = "linux")),
            "docs/faults.md: {told} rows in {title}"
        );
    }
}

fn line(row: &Row) -> String {
    let Row { what, outcome, exit, .. } = row;
    match what {
        What::Alone { sees } => {
            format!("| {} | `{}` | {outcome} | {exit} |\n", row.name, sees.trim())
        }
        What::OneOf { request, sees } => {
            format!("| {request} | `{}` | {outcome} | {exit} |\n", sees.trim())
        }
    }
}
