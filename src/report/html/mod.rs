//! `report.html`: what a person looks at in the morning. One page without a script; it loads
//! nothing but the outputs that lie beside it.

mod axes;
mod bands;
mod chart;
mod environment;
mod legend;
pub mod link;
mod outputs;
mod scenes;
mod table;
#[cfg(test)]
mod tests;

use super::devices::OtherDevice;
use super::escape::Markup;
use super::input::ReportInput;
use super::record::{Outcome, RunRecord};
use super::text as closing;
use crate::clock::{day_and_time, hms, span};
use crate::exit_code::Exit;
use crate::vram::gates::Verdict;
use crate::vram::log::time_text;
use crate::vram::timeline::Timeline;

/// What a page is of.
pub struct Page<'a> {
    /// The run, or the log.
    pub told: ReportInput<'a>,
    /// The log over time.
    pub curve: &'a Timeline,
    /// The devices beside the run's own.
    pub others: &'a [OtherDevice],
    /// What stands before a file of the run folder in a link, of [`link::to_folder`].
    pub folder: &'a str,
}

const HEAD: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ",
    "img-src 'self' file:; media-src 'self' file:; style-src 'unsafe-inline'; ",
    "base-uri 'none'; form-action 'none'\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<meta name=\"color-scheme\" content=\"light dark\">\n",
    "<meta name=\"referrer\" content=\"no-referrer\">\n<style>\n",
    include_str!("style.css"),
    "</style>\n<title>"
);

impl Page<'_> {
    /// The page, as it stands in its file.
    pub fn html(&self) -> String {
        let mut out = Markup::default();
        let out = &mut out;
        let closing = self.told.record.map(|record| closing::block(record, self.told.vram));
        out.raw(HEAD);
        self.head(out, closing.as_deref());
        folded_closing(out, closing.as_deref().unwrap_or_default());
        if self.told.record.is_none() {
            self.figures(out);
        }
        chart::section(out, self);
        self.gates(out);
        scenes::section(out, self);
        outputs::section(out, self);
        if self.told.record.is_some() {
            self.figures(out);
        }
        environment::section(out, self);
        out.raw("</main>\n<footer>").text(concat!(
            env!("CARGO_PKG_NAME"),
            " ",
            env!("CARGO_PKG_VERSION")
        ));
        out.raw("</footer>\n</body>\n</html>\n");
        std::mem::take(out).finish()
    }

    /// The verdict, and of which run.
    fn head(&self, out: &mut Markup, closing: Option<&[String]>) {
        // The times stand below it.
        let verdict = closing.and_then(<[String]>::first);
        let verdict = verdict.map_or(self.told.title, |line| closing::headline(line));
        out.text(verdict);
        out.raw(" – ").text(self.told.record.map_or(env!("CARGO_PKG_NAME"), |record| &record.id));
        out.raw("</title>\n</head>\n<body>\n<header>\n<h1");
        out.raw(match self.told.record.map(RunRecord::exit) {
            None => ">",
            Some(Exit::Success) => " class=\"ok\">",
            Some(_) => " class=\"bad\">",
        });
        out.text(verdict).raw("</h1>\n");
        if let Some(run) = self.told.record {
            out.raw("<p class=\"quiet\">Run ").text(&run.id).raw(", ");
            out.text(&day_and_time(run.started)).raw(" to ").text(&hms(run.ended));
            out.raw(" (").text(&span(run.ended - run.started)).raw(")</p>\n");
        }
        if let (None, Some(first), Some(last)) =
            (self.told.record, self.told.vram.first_at, self.told.vram.last_at)
        {
            out.raw("<p class=\"quiet\">").text(&time_text(first)).raw(" to ");
            out.text(&time_text(last)).raw("</p>\n");
        }
        if let Some(note) = self.told.note {
            out.raw("<p>").text(note).raw("</p>\n");
        }
        out.raw("</header>\n<main>\n");
    }

    fn gates(&self, out: &mut Markup) {
        if self.told.gates.is_empty() {
            return;
        }
        out.raw("<section aria-labelledby=\"gates\">\n<h2 id=\"gates\">Gates</h2>\n");
        let marked = |gate: &Verdict| format!("{} {gate}", if gate.held() { '✓' } else { '✗' });
        let lines: Vec<String> = self.told.gates.iter().map(marked).collect();
        list(out, &lines.iter().collect::<Vec<_>>());
        out.raw("</section>\n");
    }

    /// The statistics, but for what the table of scenes tells.
    fn figures(&self, out: &mut Markup) {
        if self.told.vram.samples == 0 || self.is_cached() {
            return;
        }
        out.raw("<section aria-labelledby=\"figures\">\n<h2 id=\"figures\">");
        out.raw(if self.is_ram() { "System RAM" } else { "VRAM" }).raw(" figures</h2>\n");
        lines(out, &self.told.vram.block(None, &[])[1..]);
        for other in self.others {
            let block = other.block(&[]);
            let Some((header, rest)) = block.get(1..).and_then(<[String]>::split_first) else {
                continue;
            };
            let (_, name) = header.trim_matches(['=', ' ']).split_once(": ").unwrap_or_default();
            out.raw("<h3>The figures of ").text(name).raw("</h3>\n");
            lines(out, rest);
        }
        out.raw("</section>\n");
    }

    /// Of `cpu` and `mps` devices the figures are the machine's own memory.
    fn is_ram(&self) -> bool {
        self.told.record.is_some_and(RunRecord::is_system_ram)
    }

    /// Everything came from the cache: what was sampled says nothing about it.
    fn is_cached(&self) -> bool {
        let all = |run: &&RunRecord| run.scenes.iter().all(|s| s.outcome == Outcome::Cached);
        self.told.record.filter(|run| !run.scenes.is_empty()).is_some_and(|run| all(&run))
    }
}

/// The lines below the verdict, as the run closed with them. Of many scenes those that
/// succeeded are folded away: the table has them.
fn folded_closing(out: &mut Markup, block: &[String]) {
    const MANY: usize = 8;
    let lines = block.get(1..).unwrap_or_default();
    if lines.is_empty() {
        return;
    }
    out.raw("<section aria-labelledby=\"closing\">\n<h2 id=\"closing\">In short</h2>\n");
    let good = lines.iter().filter(|line| line.starts_with('✓')).count();
    let folded = good > MANY;
    let is_scene = |line: &&String| line.starts_with(['✓', '✗']);
    let (scenes, others): (Vec<&String>, Vec<&String>) = lines.iter().partition(is_scene);
    let (bad, fine): (Vec<&String>, Vec<&String>) =
        scenes.into_iter().partition(|line| folded && line.starts_with('✗'));
    list(out, &bad);
    if folded {
        out.raw("<details>\n<summary>").number(good as u64);
        out.raw(" scenes did what they were asked for</summary>\n");
    }
    list(out, &fine);
    if folded {
        out.raw("</details>\n");
    }
    for line in others {
        match line.strip_prefix("Next: ") {
            Some(next) => out.raw("<p>Next: <code>").text(next).raw("</code></p>\n"),
            None => out.raw("<p>").text(line).raw("</p>\n"),
        };
    }
    out.raw("</section>\n");
}

/// Lines that begin with a mark.
fn list(out: &mut Markup, lines: &[&String]) {
    if lines.is_empty() {
        return;
    }
    out.raw("<ul class=\"marked\">\n");
    for line in lines {
        let good = line.starts_with('✓');
        out.raw(if good {
            "<li class=\"ok\"><b>✓</b> "
        } else {
            "<li class=\"bad\"><b>✗</b> "
        });
        // What two spaces keep apart in a terminal.
        out.text(&line.trim_start_matches(['✓', '✗', ' ']).replace("  ", " · ")).raw("</li>\n");
    }
    out.raw("</ul>\n");
}

/// A block of statistics.
fn lines(out: &mut Markup, block: &[String]) {
    out.raw("<ul class=\"lines\">\n");
    for line in block {
        if !line.starts_with("Scene ") && !line.starts_with("VRAM log: ") {
            out.raw("<li>").text(line).raw("</li>\n");
        }
    }
    out.raw("</ul>\n");
}
