//! The faults of `docs/faults.md`. The page is the table: it says what is printed, the outcome and
//! the exit code, and each of its rows is played here.
//!
//! `FAULT=text cargo test --test it faults` plays only the rows whose name holds the text, or
//! one of several between `|`.

#[cfg(target_os = "linux")]
mod disk;
mod gone;
mod outputs;
mod polling;
mod posting;
mod programs;
mod requests;
mod row;
mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use row::Row;

const PAGE: &str = include_str!("../../../docs/faults.md");

/// How many rows are played at once: nearly all of their time they wait.
const THREADS: usize = if cfg!(windows) { 10 } else { 16 };

fn sections() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("At every request", requests::rows()),
        ("At the start", posting::rows_at_the_start()),
        ("Posting", posting::rows()),
        ("While it runs", polling::rows()),
        ("A server that goes away", gone::rows()),
        ("Ending a prompt", gone::rows_of_prompts_that_do_not_end()),
        ("Bringing home", outputs::rows()),
        #[cfg(target_os = "linux")]
        ("The machine (played on Linux)", disk::rows()),
        ("Stories and programs", programs::rows()),
    ]
}

/// The four cells of a row of the page, if the line is one.
fn cells(line: &str) -> Option<[&str; 4]> {
    let line = line.trim_end().strip_prefix("| ")?.strip_suffix(" |")?;
    let cells: [&str; 4] = line.split(" | ").collect::<Vec<_>>().try_into().ok()?;
    cells[3].parse::<i32>().is_ok().then_some(cells)
}

/// Plays rows; fails with all that are not as the page says.
fn play(rows: Vec<Row>) {
    let only = std::env::var("FAULT").unwrap_or_default();
    let asked = |name: &str| only.split('|').any(|part| name.contains(part));
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| asked(&row.name)).collect();
    rows.sort_by_key(|row| row.slow); // the last is taken first
    let (rows, failed): (_, Mutex<Vec<String>>) = (Mutex::new(rows), Mutex::new(Vec::new()));
    let next = || rows.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
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
    for (title, rows) in sections() {
        let mut played: Vec<&str> = rows.iter().filter_map(|row| row.on_page).collect();
        played.dedup();
        let (_, section) = PAGE.split_once(&format!("## {title}")).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let told: Vec<&str> = section.lines().filter_map(cells).map(|[name, ..]| name).collect();
        if cfg!(target_os = "linux") {
            assert_eq!(played, told, "docs/faults.md: {title}");
        }
        // Some rows are played on Linux alone.
        assert!(played.iter().all(|name| told.contains(name)), "{title}: {played:?}");
    }
}
