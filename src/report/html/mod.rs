//! `report.html`: one page without a script, which loads nothing but the outputs beside it.
//!
//! Each function returns the markup of one element. Whatever does not stand in its template is
//! [`Escaped`], or a number.

mod axes;
mod chart;
pub mod link;
mod sections;
#[cfg(test)]
mod tests;

use super::ReportInput;
use super::escape::Escaped;
use super::record::RunRecord;
use super::saved_run::OtherDevice;
use super::text::{MANY_SCENES, headline, summary_block, times};
use crate::exit_code::Exit;
use crate::vram::gates::Verdict;
use crate::vram::log::time_text;
use crate::vram::reading::memory_name;
use crate::vram::timeline::Timeline;

/// What a page is made of.
pub struct Page<'a> {
    /// The run, or the log alone.
    pub input: ReportInput<'a>,
    /// The log over time.
    pub timeline: &'a Timeline,
    /// The devices beside the run's own.
    pub others: &'a [OtherDevice],
    /// What stands before a file of the run folder in a link; see [`link::to_folder`].
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
    "</style>\n"
);
const PROGRAM: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Page<'_> {
    /// The page, as its file holds it.
    pub fn html(&self) -> String {
        let run = self.input.record;
        let block = run.map(|run| summary_block(run, self.input.vram, None)).unwrap_or_default();
        let verdict = block.first().map_or(self.input.title, |line| headline(line).0);
        let is_good = run.is_none_or(|run| run.exit() == Exit::Success);
        let mut main = vec![
            self.summary(&block, is_good),
            chart::section(self),
            sections::scenes(self),
            sections::outputs(self),
        ];
        // A gate that failed is the verdict's reason.
        let gates_held = self.input.gates.iter().all(Verdict::held);
        main.insert(if gates_held { 2 } else { 0 }, sections::gates(self));
        // On the page of a log alone the figures come first.
        main.insert(if run.is_some() { main.len() } else { 0 }, self.figures());
        main.push(sections::environment(self));
        format!(
            "{HEAD}<title>{} – {}</title>\n</head>\n<body>\n{}<main>\n{}</main>\n\
             <footer>{PROGRAM} {VERSION}</footer>\n</body>\n</html>\n",
            Escaped(verdict),
            Escaped(run.map_or(PROGRAM, |run| &run.id)),
            self.header(verdict),
            main.concat()
        )
    }

    /// The verdict, and of which run.
    fn header(&self, verdict: &str) -> String {
        let class = match self.input.record.map(RunRecord::exit) {
            None => "",
            Some(Exit::Success) => r#" class="ok""#,
            Some(_) => r#" class="bad""#,
        };
        let vram = self.input.vram;
        let mut header = format!("<header>\n<h1{class}>{}</h1>\n", Escaped(verdict));
        if let Some(run) = self.input.record {
            let (id, times) = (Escaped(&run.id), times(run));
            header += &format!("<p class=\"quiet\">Run {id}, {times}</p>\n");
        } else if let Some((from, to)) = vram.first_at.zip(vram.last_at) {
            let (from, to) = (time_text(from), time_text(to));
            header += &format!("<p class=\"quiet\">{from} to {to}</p>\n");
        }
        header.extend(self.input.note.map(|note| format!("<p>{}</p>\n", Escaped(note))));
        header + "</header>\n"
    }

    /// The lines of the summary block below the verdict. Scenes that succeeded do not stand below one that
    /// failed, and many are folded away: the table has them. So it is with the gates, and the page is
    /// the report itself.
    fn summary(&self, block: &[String], is_good: bool) -> String {
        let (marked, others): (Vec<&String>, Vec<&String>) =
            block.iter().skip(1).partition(|line| line.starts_with(['✓', '✗']));
        let (good, bad): (Vec<&String>, Vec<&String>) =
            marked.iter().partition(|line| line.starts_with('✓'));
        let mut content = marked_list(bad);
        if is_good && good.len() > MANY_SCENES {
            let (count, good) = (good.len(), marked_list(good));
            let summary = format!("<summary>{count} scenes did what they were asked for</summary>");
            content += &format!("<details>\n{summary}\n{good}</details>\n");
        } else if is_good {
            content += &marked_list(good);
        }
        let mut facts = String::new();
        let command = self.input.record.and_then(|run| run.next.as_deref());
        for line in others {
            // A name, and at the eleventh column what it is of.
            let end = [line.find("  "), line.find(": ")].into_iter().flatten().min();
            let (name, text) = line.split_at(end.filter(|end| *end <= 11).unwrap_or(0));
            let text = text.trim_start_matches([':', ' ']);
            facts += &match name {
                "Gates" | "Report" => String::new(),
                "" if line.starts_with(' ') => String::new(),
                "" => format!("<dd class=\"all\">{}</dd>\n", Escaped(text)),
                "Next" if command.is_some_and(|command| line.ends_with(command)) => {
                    format!("<dt>Next</dt><dd><code>{}</code></dd>\n", Escaped(text))
                }
                _ => format!("<dt>{}</dt><dd>{}</dd>\n", Escaped(name), Escaped(text)),
            };
        }
        if !facts.is_empty() {
            content += &format!("<dl>\n{facts}</dl>\n");
        }
        section("closing", "In short", &content)
    }

    /// The statistics, except for those in the table of scenes.
    fn figures(&self) -> String {
        if self.input.vram.samples == 0 || self.is_cached() {
            return String::new();
        }
        let facts = self.input.record.map(RunRecord::facts).unwrap_or_default();
        let mut block = self.input.vram.block(None, &facts).split_off(1);
        if self.input.is_system_ram() {
            block = block.iter().map(|line| line.replace("VRAM", "RAM")).collect();
        }
        let mut figures = plain_list(&block);
        for other in self.others {
            figures += &format!("<h3>The figures of {}</h3>\n", Escaped(&other.title()));
            // The first two lines are an empty one and the header.
            figures += &plain_list(&other.block(&[])[2..]);
        }
        section("figures", &format!("{} figures", self.memory()), &figures)
    }

    fn memory(&self) -> &'static str {
        memory_name(self.input.is_system_ram())
    }

    /// Whether everything came from the cache: then what was sampled says nothing about it.
    fn is_cached(&self) -> bool {
        self.input.record.is_some_and(RunRecord::is_cached)
    }
}

/// A section; none without content.
fn section(id: &str, title: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!(
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n"
    )
}

/// Lines that begin with a mark.
fn marked_list(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let items = lines.into_iter().map(|line| {
        let line = line.as_ref();
        let (class, mark) = if line.starts_with('✓') { ("ok", '✓') } else { ("bad", '✗') };
        // What two spaces keep apart in a terminal.
        let text = line.trim_start_matches(['✓', '✗', ' ']).replace("  ", " · ");
        format!("<li class=\"{class}\"><b>{mark}</b> {}</li>\n", Escaped(&text))
    });
    let items: String = items.collect();
    if items.is_empty() { items } else { format!("<ul class=\"marked\">\n{items}</ul>\n") }
}

/// A block of statistics, except for its scenes and the log's path; the lines of many nodes are folded
/// away.
fn plain_list(lines: &[String]) -> String {
    let shown = |line: &&String| !line.starts_with("Scene ") && !line.starts_with("VRAM log: ");
    let (nodes, others): (Vec<&String>, Vec<&String>) =
        lines.iter().filter(shown).partition(|line| line.starts_with("Node "));
    let list = |lines: &[&String]| {
        let items = lines.iter().map(|line| format!("<li>{}</li>\n", Escaped(line)));
        format!("<ul class=\"lines\">\n{}</ul>\n", items.collect::<String>())
    };
    match nodes.len() {
        0 => list(&others),
        n if n <= MANY_SCENES => list(&[others, nodes].concat()),
        n => {
            let summary = format!("<summary>{n} nodes</summary>\n{}", list(&nodes));
            format!("{}<details>{summary}</details>\n", list(&others))
        }
    }
}
