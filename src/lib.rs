//! Runs `ComfyUI` generations end to end and records the VRAM they use: blocking, unattended, with
//! an exit code that says what happened.
//!
//! # The program on one page
//!
//! ```text
//! main ─► cli ─► run ─► scene ─► attempt: upload · submit · poll · download
//!                 │                 │
//!                 │                 ▼ every wait
//!  sampler ──┐    │           run::events ─► recorder ─► vram-usage.log
//!  listener ─┤    │                │                          │
//!  signals ──┴─ mpsc channel ──────┘                          │ read once
//!                 ▼                                           ▼
//!               finish ◄─ RunRecord ─────────────── VramStats, Timeline
//!                 └─► report: run-summary.txt, metadata, page, JUnit, Markdown, metrics
//! ```
//!
//! There is no async runtime. The **main thread** drives the run with short blocking HTTP calls and
//! otherwise waits in one place, `run::events`: a timed receive on one channel. Into it send the
//! **sampler's thread** (a reading at every point of a fixed grid, 0.25 s apart), the **listener's
//! thread** (what the server's websocket tells while an attempt runs) and the **signal's thread** (an
//! interrupt). nvidia-smi's output is read by a thread that keeps the latest readings, and what is
//! printed is written by the **screen's thread**. So every wait takes readings and interrupts, and
//! nothing else has to.
//!
//! | module | what it knows | what it does not |
//! |---|---|---|
//! | `cli` | the one table of options, both spellings, typed options | what is done with them |
//! | `http` | timeouts, limits, errors by kind, a reader of websockets | `ComfyUI`, VRAM |
//! | `comfyui` | the server's routes and JSON, workflow graphs | runs; nothing outside reads its JSON |
//! | [`vram`] | readings, sampler, sources, log, statistics, timeline, gates | scenes, but for their ids |
//! | `process` | starting a child, its time limit, the end of its tree | what it is for |
//! | `project` | the script's side: story, generator, helpers, language models | the run |
//! | `run` | the order of a run, attempts, cancelling, state file and lock | how a report looks |
//! | `report` | every text about a finished run, made of its `RunRecord` and `VramStats` | the server |
//! | `monitor`, `summary` | the other two verbs, with the same event loop, log and reports | |
//! | `console`, `screen` | run-summary.txt, the live row; the outputs' thread | what is logged |
//! | `keep_awake`, `sleep` | a child that keeps the computer awake; sleeps, noticed afterwards | |
//!
//! **A reading** is asked for by the sampler (`vram::sampler`) from a `ReadingSource`
//! (`vram::source`: `ComfyUI`'s `/system_stats`, nvidia-smi where that gives none), sent as a
//! `Measurement` of all devices into the channel, and taken by `run::events` into the recorder
//! (`run::recorder`). There a `Recording` for each device (`vram::recording`, pure) decides which
//! readings become lines, with the scene and the node that ran then, and `vram::log` writes them: ticks
//! at once, higher readings between two ticks at the later one. At the end the log is read once
//! (`vram::stats::LogSummary`), and every report gets its figures from there.
//!
//! **A prompt** is named by an option (`cli::options`), found in its file (`project::workflow_source`)
//! and becomes a scene with a patched graph (`run::plan`), a file in the editor's format once the
//! server has described its classes ([`editor_format`]). It is posted (`run::submit`) after its id has
//! been written to the state file, is followed (`run::attempt`, `run::poll`) until it has a history
//! entry, a deadline or an end, or is cancelled (`run::cancel`). What the listener tells
//! (`comfyui::listener`, `run::following`) brings the next poll forward and names scene and node; a
//! poll alone decides. Its files are downloaded (`run::download`) into the run folder, and its outcome
//! goes into the `SceneRecord` that the reports read.
//!
//! What is public is so for benches, fuzz targets and the example that prints the manual page.

mod archive;
mod cli;
pub mod clock;
mod comfyui;
mod console;
mod exit_code;
mod fs;
mod http;
mod interrupt;
mod keep_awake;
mod monitor;
mod process;
mod project;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/oracles/mod.rs"]
pub mod properties;
mod report;
mod run;
mod sanitize;
mod screen;
mod sleep;
mod suggest;
mod summary;
pub mod vram;

pub use cli::man_page;
pub use comfyui::{ObjectInfo, editor_format, output_file};

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{Command, Env, Style};
use exit_code::Exit;

/// The whole program: arguments without the program's name in, the code that it ends with out.
pub fn start(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    process::block_signals();
    let env = Env {
        var: &|name| std::env::var_os(name),
        current_dir: std::env::current_dir().unwrap_or_default(),
        program: std::env::current_exe().ok(),
    };
    let words: Vec<OsString> = arguments.into_iter().collect();
    console::spell_as(Style::of(&words));
    let exit = match cli::parse(words, &env) {
        Ok(Command::Print(text)) => console::print(&(text + "\n"), Exit::Success),
        Ok(Command::Run(options)) => run::run(&options),
        Ok(Command::Summary(options)) => summary::summary(&options),
        Ok(Command::Monitor(options)) => {
            let code = monitor::monitor(&options);
            screen::finish();
            return exit_code::into_exit_code(code);
        }
        Err(error) => {
            console::print_error(&error.to_string());
            Exit::Usage
        }
    };
    screen::finish();
    exit.code().into()
}
