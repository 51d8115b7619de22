//! What a run's summary says of each scene.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::sanitize::sanitize_line;

/// So many lines of a scene are kept, the last ones.
const MOST: usize = 200;
/// And so much of each, in characters.
const WIDTH: usize = 1000;
/// A line that is longer is no line of ours.
const LONGEST: u64 = 1 << 16;

/// The lines of each scene.
#[derive(Default)]
pub struct Excerpts {
    scenes: HashMap<String, Lines>,
    /// What follows are the figures of another device than the run's.
    other_device: bool,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    dropped: usize,
}

impl Excerpts {
    /// Those of a `run-summary.txt`. What cannot be read is not there.
    pub fn read(path: &Path) -> Self {
        File::open(path).map(|file| Excerpts::of_lines(BufReader::new(file))).unwrap_or_default()
    }

    pub(crate) fn of_lines(mut summary: impl BufRead) -> Self {
        let mut excerpts = Excerpts::default();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match summary.by_ref().take(LONGEST).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return excerpts,
                Ok(_) => excerpts.take(&sanitize_line(&String::from_utf8_lossy(&bytes))),
            }
        }
    }

    fn take(&mut self, line: &str) {
        self.other_device |= line.contains("] === VRAM Usage Statistics: ");
        let Some((id, figures)) = scene_of(line) else { return };
        if figures && self.other_device {
            return;
        }
        let lines = self.scenes.entry(id.to_owned()).or_default();
        lines.kept.push_back(line.chars().take(WIDTH).collect());
        if lines.kept.len() > MOST {
            lines.kept.pop_front();
            lines.dropped += 1;
        }
    }

    /// The lines of that scene; none where none were said.
    pub fn of(&self, scene: &str) -> Vec<String> {
        let Some(lines) = self.scenes.get(scene) else { return Vec::new() };
        let dropped = lines.dropped;
        let head = (dropped > 0).then(|| format!("({dropped} lines before these)"));
        head.into_iter().chain(lines.kept.iter().cloned()).collect()
    }
}

/// The scene that a line is of: `[12:00:00] [Scene a] …`, or `[12:00:00] Scene a: …` with its
/// figures, which is told beside it.
fn scene_of(line: &str) -> Option<(&str, bool)> {
    let (_, said) = line.strip_prefix('[')?.split_once("] ")?;
    match said.strip_prefix("[Scene ") {
        Some(rest) => rest.split_once(']').map(|(id, _)| (id, false)),
        None => said.strip_prefix("Scene ")?.split_once(": ").map(|(id, _)| (id, true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_has_its_own_lines() {
        let summary = "\
[12:00:00] Scenes to process: a, a.b\n[12:00:01] [Scene a] Starting\n[12:00:01] [Scene a.b] \x1b[1mno\n\
[12:00:02] [Scene a] \u{fffd}\n[12:00:09] Scene a: peak 5 MB\n[Scene a] not ours\nScene a: neither\n\
[12:00:09] === VRAM Usage Statistics: device 1 ===\n[12:00:09] Scene a: peak 7 MB\n";
        let excerpts = Excerpts::of_lines(summary.as_bytes());
        let lines = ["[12:00:01] [Scene a] Starting", "[12:00:02] [Scene a] \u{fffd}"];
        assert_eq!(excerpts.of("a"), [&lines[..], &["[12:00:09] Scene a: peak 5 MB"]].concat());
        assert_eq!(excerpts.of("a.b"), ["[12:00:01] [Scene a.b] [1mno"]);
        assert_eq!(excerpts.of("b"), [""; 0]);
    }

    #[test]
    fn of_very_many_lines_the_last_ones_are_kept() {
        let line = |n| format!("[12:00:00] [Scene a] {n}{}\n", "x".repeat(5000));
        let summary: String = (0..MOST + 5).map(line).collect();
        let lines = Excerpts::of_lines(summary.as_bytes()).of("a");
        assert_eq!((lines.len(), lines[0].as_str()), (MOST + 1, "(5 lines before these)"));
        assert!(lines[1].starts_with("[12:00:00] [Scene a] 5x"), "{}", lines[1]);
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
        // Without an end of line it is read in pieces, and the first one is a line.
        let endless = format!("[12:00:00] [Scene a] {}", "y".repeat(1 << 20));
        assert_eq!(Excerpts::of_lines(endless.as_bytes()).of("a").len(), 1);
    }
}
