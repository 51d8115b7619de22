//! What a person at a terminal is shown, on one of our own: the opening, a row a scene, the verdict.
//! A terminal emulator says what is on it after each piece that it is given.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use serde_json::Value;
use vt100::Parser;

use crate::signals;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::summary_verb::LOG;
use crate::support::{
    Folder, Ran, Running, SOON, normalized, replaced, somebody_posts, wait_until,
};

const ESCAPE: char = '\u{1b}';
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const CYAN: &str = "\u{1b}[36m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const XTERM: (&str, &str) = ("TERM", "xterm-256color");
const HEIGHT: u16 = 100;

/// A terminal, and the program that runs on it.
struct Terminal {
    running: Option<Running>,
    slave: File,
    /// The terminal's own state, all that it was given, and what it showed when a row was too long
    /// for it.
    shown: Arc<Mutex<(Parser, String, Option<String>)>>,
    reader: thread::JoinHandle<()>,
}

fn not_zero(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).unwrap()
}

impl Terminal {
    /// Starts the program with both outputs on a terminal so wide, `TERM` and the rest of the
    /// environment being these.
    fn start(
        folder: &Folder,
        columns: u16,
        environment: &[(&str, &str)],
        words: &[&str],
    ) -> Terminal {
        let size = Winsize { ws_row: HEIGHT, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        for end in [&master, &slave] {
            // Programs of other tests would hold it open.
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let [rows, width] = [HEIGHT, if columns == 0 { 80 } else { columns }].map(not_zero);
        let parser = Parser::new(rows, width, 0);
        let shown = Arc::new(Mutex::new((parser, String::new(), None)));
        let slave = File::from(slave);
        let running = folder.start_with(words, |command| {
            signals::alone(command);
            command.stdout(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap());
            for name in ["NO_COLOR", "TERM", "WT_SESSION"] {
                command.env_remove(name);
            }
            command.envs(environment.iter().copied());
        });
        let to = Arc::clone(&shown);
        let reader = thread::spawn(move || {
            let (mut master, mut piece) = (File::from(master), [0; 4096]);
            // Once nobody has the other end any more, reading fails.
            while let Ok(length @ 1..) = master.read(&mut piece) {
                let mut shown = to.lock().unwrap();
                let (parser, got, too_long) = &mut *shown;
                parser.process(&piece[..length]);
                *got += &String::from_utf8_lossy(&piece[..length]);
                let screen = parser.screen();
                if (0..HEIGHT).any(|row| screen.row_wrapped(row)) {
                    too_long.get_or_insert_with(|| screen.contents());
                }
            }
        });
        Terminal { running: Some(running), slave, shown, reader }
    }

    /// What is on the screen now, without its empty end.
    fn screen(&self) -> String {
        self.shown.lock().unwrap().0.screen().contents()
    }

    #[track_caller]
    fn until_it_shows(&self, text: &str) -> String {
        wait_until(&format!("{text:?} on {:?}", self.screen()), || self.screen().contains(text));
        self.screen()
    }

    /// Gives the terminal another width, as somebody who drags its window.
    fn resize(&self, columns: u16) {
        let slave = self.slave.try_clone().unwrap();
        let columns_word = columns.to_string();
        let stty = Command::new("stty").args(["cols", &columns_word]).stdin(slave).status();
        assert!(stty.unwrap().success());
        self.shown.lock().unwrap().0.screen_mut().set_size(not_zero(HEIGHT), not_zero(columns));
    }

    /// Waits for the end. Returns the screen, and all that the terminal was given.
    fn end(mut self) -> (String, String, Ran) {
        let ran = self.running.take().unwrap().wait();
        drop(self.slave);
        self.reader.join().unwrap();
        let shown = self.shown.lock().unwrap();
        let (parser, got, too_long) = &*shown;
        assert_eq!(too_long, &None, "rows that the terminal had to wrap");
        let screen = parser.screen();
        assert_eq!(screen.cursor_position().1, 0, "the cursor is left in a row\n{got:?}");
        (screen.contents() + "\n", got.replace("\r\n", "\n"), ran)
    }
}

/// Runs the program to its end on a terminal.
fn on_terminal(
    folder: &Folder,
    columns: u16,
    environment: &[(&str, &str)],
    words: &[&str],
) -> (String, Ran) {
    let (_, got, ran) = Terminal::start(folder, columns, environment, words).end();
    (got, ran)
}

/// A run to its end, sampled often: the screen then.
fn run_on(server: &StandIn, folder: &Folder, columns: u16, words: &[&str]) -> (String, Ran) {
    let url = server.url();
    let words = [&["--comfyui-url", &url, "-SampleIntervalSeconds", "0.1"], words].concat();
    let (screen, _, ran) = Terminal::start(folder, columns, &[XTERM], &words).end();
    (screen, ran)
}

/// Compares a screen with a snapshot, in which what differs from run to run is replaced, at the same
/// width where it matters.
fn is_shown(screen: &str, folder: &Folder, wanted: &Expect) {
    let text = normalized(&without_sampling(screen), folder);
    // Its rows depend on the length of the folder's path.
    let text = match text.split_once("\nNext       run-comfyui-e2e ") {
        Some((shown, _)) => format!("{shown}\nNext       run-comfyui-e2e …\n"),
        None => text,
    };
    // What is read where one node ends and the next begins may be either's.
    let text = [("after 9 s", "after N s"), (", node 9", ", node N"), (" in node 9", " in node N")]
        .iter()
        .fold(text, |text, (shape, name)| replaced(&text, shape, name));
    wanted.assert_eq(&text);
}

fn long(prefix: &str, mb: u64) -> Value {
    graphs::video(prefix, 600.0, mb, mb)
}

/// A scene that takes that much for a while, and is sampled before and after that.
fn plateau(prefix: &str, mb: u64) -> Value {
    let mut graph = graphs::nodes(prefix, &[(0, 0.4), (mb, 0.6), (0, 0.6)]);
    graph["1"]["inputs"]["color"] = mb.into();
    graph
}

/// A screen without the rows that a busy machine alone has.
fn without_sampling(screen: &str) -> String {
    let mut is_kept = true;
    let kept = screen.lines().filter(|line| {
        is_kept = !line.starts_with("Sampling") && (is_kept || !line.starts_with("      "));
        is_kept
    });
    kept.map(|line| line.to_owned() + "\n").collect()
}

fn rows(screen: &str) -> usize {
    without_sampling(screen).lines().count()
}

#[test]
fn one_scene_has_eight_rows_and_three_have_twelve() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for (name, mb) in [("castle", 17_070), ("forest", 4000), ("lake", 3000), ("hill", 2000)] {
        folder.workflow(&format!("{name}.json"), &plateau(&format!("video/{name}"), mb));
    }
    let (screen, ran) = run_on(&server, &folder, 80, &["castle.json"]);
    ran.exits(0);
    assert!(rows(&screen) <= 8, "{screen}");
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ComfyUI 0.3.64 · RTX 4090, 24576 MB, 2240 in use · queue empty · at most 10 min
            ✓ castle     M:SS  19310 MB  +17070  castle.mp4  2420 bytes
            ✓ 1 scene in N s
            VRAM peak  19310 of 24576 MB (79 %), 5266 to spare, in node N HoldMemory
            Needs      17070 MB of its own: a 20 GB card, not a 16 GB one
            After      GPU idle, queue empty, 2240 MB in use as before
            Report     logs/RUN-ID/report.html
        "]],
    );
    let words = ["lake.json", "forest.json", "hill.json"];
    let (screen, ran) = run_on(&server, &folder, 80, &words);
    ran.exits(0);
    assert!(rows(&screen) <= 12, "{screen}");
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ComfyUI 0.3.64 · RTX 4090, 24576 MB, 2240 in use · queue empty
            3 scenes, at most 10 min each

            ✓ lake       M:SS   5240 MB  +3000   lake.mp4  2420 bytes
            ✓ forest     M:SS   6240 MB  +4000   forest.mp4  2420 bytes
            ✓ hill       M:SS   4240 MB  +2000   hill.mp4  2420 bytes
            ✓ 3 of 3 scenes in N s
            VRAM peak  6240 of 24576 MB (25 %), 18336 to spare, in forest, node N
                       HoldMemory
            Needs      4000 MB of its own: a 4 GB card
            After      GPU idle, queue empty, 2240 MB in use as before
            Report     logs/RUN-ID/report.html
        "]],
    );
    // In the morning the same again, and when it was.
    let (shown, ran) = on_terminal(&folder, 80, &[XTERM], &["summary", "--no-color"]);
    ran.exits(0);
    let verdict = shown.lines().next().unwrap_or_default();
    assert!(verdict.starts_with("✓ 3 of 3 scenes in ") && verdict.contains(" to "), "{shown}");
    for row in screen.lines().skip(3).filter(|row| !row.starts_with("✓ 3 of 3")) {
        assert!(shown.contains(row), "{row}\n{shown}");
    }
}

#[test]
fn a_scene_that_failed_says_why_and_what_to_do() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("castle.json", &plateau("video/castle", 17_070));
    folder.workflow("forest.json", &plateau("video/forest", 4000));
    let why = "CLIP model not found: umt5_xxl_fp8.safetensors";
    folder.workflow("doomed.json", &graphs::failing(why));
    let words = ["castle.json", "doomed.json", "forest.json"];
    let (screen, ran) = run_on(&server, &folder, 80, &words);
    ran.exits(1);
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ComfyUI 0.3.64 · RTX 4090, 24576 MB, 2240 in use · queue empty
            3 scenes, at most 10 min each

            ✓ castle     M:SS  19310 MB  +17070  castle.mp4  2420 bytes
            ✗ doomed     M:SS  node 2 FailAlways: RuntimeError: CLIP model not found:
                               umt5_xxl_fp8.safetensors (2 attempts)
            ✓ forest     M:SS   6240 MB  +4000   forest.mp4  2420 bytes
            ✗ 1 of 3 scenes failed in N s (exit 1)
            VRAM peak  19310 of 24576 MB (79 %), 5266 to spare, in castle, node N
                       HoldMemory
            Needs      17070 MB of its own: a 20 GB card, not a 16 GB one
            After      GPU idle, queue empty, 2240 MB in use as before
            Report     logs/RUN-ID/report.html
            Next       run-comfyui-e2e …
        "]],
    );
}

#[test]
fn a_gate_that_failed_stands_above_its_table() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("node.json", &plateau("video/node", 1510));
    folder.run_on(&server.url(), &["-Sample", "0.1", "node.json"]).exits(0);
    folder.workflow("node.json", &plateau("video/node", 1912));
    let run = folder.newest();
    let words = ["--baseline", run.to_str().unwrap(), "node.json"];
    let (screen, ran) = run_on(&server, &folder, 80, &words);
    ran.exits(7);
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ComfyUI 0.3.64 · RTX 4090, 24576 MB, 2240 in use · queue empty · at most 10 min
            ✓ node     M:SS   4152 MB  +1912   node.mp4  2420 bytes
            ✗ VRAM is worse than logs/RUN-ID (exit 7)
                     before    now   change          limit
              node     1510   1912     +402  +27 %    1586  ✗
            VRAM peak  4152 of 24576 MB (17 %), 20424 to spare, in node N HoldMemory
            Needs      1912 MB of its own: a 4 GB card
            After      GPU idle, queue empty, 2240 MB in use as before
            Report     logs/RUN-ID/report.html
        "]],
    );
    // Told again, the table stands below the verdict, and the scene has no mark.
    let (shown, _) = on_terminal(&folder, 80, &[XTERM], &["summary", "--no-color"]);
    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows[0].starts_with("✗ VRAM is worse ") && rows[1].contains("  before  "), "{shown}");
    assert!(
        rows[3].starts_with("  node     0:0") && rows[3].contains("  +1912   node.mp4"),
        "{shown}"
    );
}

#[test]
fn what_came_from_the_cache_has_no_figures() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for name in ["one", "two"] {
        folder.workflow(&format!("{name}.json"), &graphs::images("img/x", 1, 1));
    }
    let words = ["one.json", "two.json"];
    folder.run_on(&server.url(), &words).exits(0);
    let (screen, ran) = run_on(&server, &folder, 80, &words);
    ran.exits(0);
    is_shown(
        &screen,
        &folder,
        &expect![[r"
        ComfyUI 0.3.64 · RTX 4090, 24576 MB, 2240 in use · queue empty
        2 scenes, at most 10 min each

        ✓ one     M:SS  from the cache, no figures (use --fresh)
        ✓ two     M:SS  from the cache, no figures (use --fresh)
        ✓ nothing was generated: all 2 scenes came from ComfyUI's cache (use --fresh)
        After      GPU idle, queue empty, 2240 MB in use as before
        Report     logs/RUN-ID/report.html
    "]],
    );
}

#[test]
fn the_memory_of_a_cpu_is_ram() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &plateau("video/flow", 4096));
    let (screen, ran) = run_on(&server, &folder, 80, &["flow.json"]);
    ran.exits(0);
    assert!(!screen.contains("VRAM") && !screen.contains("GPU"), "{screen}");
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ComfyUI 0.3.64 · cpu, 24106 MB of RAM, 1229 in use · at most 10 min
            ✓ flow     M:SS   5325 MB  +4096   flow.mp4  2420 bytes
            ✓ 1 scene in N s
            RAM peak   5325 of 24106 MB (22 %), 18781 to spare, in node N HoldMemory
            Needs      at least 4096 MB of RAM of its own
            After      ComfyUI idle, queue empty, 1229 MB of RAM in use as before
            Report     logs/RUN-ID/report.html
        "]],
    );
    // Of as much more in use at its start nobody knows whether the scene uses it again.
    let cold = "12:00:00,Used=600MB,Total=24106MB,Ram=600MB\n\
                12:00:05,Used=4696MB,Total=24106MB,Ram=4696MB,Scene=flow\n";
    folder.write("cold.log", cold);
    folder.workflow("flow.json", &plateau("video/once more", 4096));
    let (screen, ran) =
        run_on(&server, &folder, 80, &["flow.json", "--fresh", "--baseline", "cold.log"]);
    ran.exits(7);
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ComfyUI 0.3.64 · cpu, 24106 MB of RAM, 1229 in use · at most 10 min
            ✓ flow     M:SS   5325 MB  +4096   flow.mp4  2420 bytes
            ✗ Baseline could not be judged (exit 7)
                     before     now   change         limit
              flow    +4096   +4096       +0  +0 %   +4301  ✗ not judged: 1229 MB in use
              before it, 600 in the baseline: run it again in two minutes, with ComfyUI
              started anew
              RAM of the whole machine: less is added on a warm start, which ✓ allows for
            RAM peak   5325 of 24106 MB (22 %), 18781 to spare, in node N HoldMemory
            Needs      at least 4096 MB of RAM of its own
            After      ComfyUI idle, queue empty, 1229 MB of RAM in use as before
            Report     logs/RUN-ID/report.html
        "]],
    );
}

#[test]
fn without_comfyui_there_is_one_message() {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let words = ["--comfyui-url", "http://127.0.0.1:1", "flow.json"];
    let (screen, _, ran) = Terminal::start(&folder, 80, &[XTERM], &words).end();
    ran.exits(3);
    is_shown(
        &screen,
        &folder,
        &expect![[r"
        ✗ no ComfyUI at http://SERVER (connection refused): start it, or
          --comfyui-url URL, or --wait-for-comfyui 120 (exit 3)
    "]],
    );
}

#[test]
fn a_dry_run_tells_its_verdict_first() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("good.json", &graphs::images("img/good", 1, 1));
    folder.workflow("bad.json", &graphs::invalid());
    let url = server.url();
    let words = ["--comfyui-url", &url, "--dry-run", "good.json", "bad.json"];
    let (screen, got, ran) = Terminal::start(&folder, 80, &[XTERM], &words).end();
    ran.exits(1);
    assert!(got.starts_with(&format!("{RED}✗{PLAIN} ")), "{got:?}");
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ✗ 1 of 2 scenes would be rejected (exit 1)
            ✓ good
            ✗ bad  node 4 CheckpointLoaderSimple ckpt_name: 'x.safetensors' is not in the
                   server's list (nearest: 'xl.safetensors')
            2 scenes, at most 10 min each and 1 retry: at worst 40 min; VRAM every 5 s
            http://SERVER: ComfyUI 0.3.64, PyTorch 2.15.0+cu132, cuda:0 NVIDIA
              GeForce RTX 4090, 24576 MB, 2240 in use
            Nothing was uploaded or posted, and no folder was made
        "]],
    );
}

#[test]
fn monitor_tells_its_peak_first() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let url = server.url();
    let words = ["monitor", "--comfyui-url", &url, "--duration", "3", "-Sample", "0.5"];
    let words = [&words[..], &["--max-peak-mb", "5"]].concat();
    let terminal = Terminal::start(&folder, 80, &[XTERM], &words);
    let live = terminal.until_it_shows("monitor 0:01 of 0:03");
    assert!(live.ends_with("monitor 0:01 of 0:03  2240 MB, peak 2240 MB"), "{live}");
    let (screen, _, ran) = terminal.end();
    ran.exits(7);
    let head: String = screen.lines().take(4).map(|line| line.to_owned() + "\n").collect();
    is_shown(
        &head,
        &folder,
        &expect![[r"
            ✗ VRAM peak 2240 MB is above 5 MB (exit 7)
                          before    now   change   limit
              MaxPeakMB            2240                5  ✗
            VRAM peak  2240 of 24576 MB (9 %), 22336 to spare
        "]],
    );
}

/// At every width from 20 columns on, with names that are wide and long.
#[test]
fn no_row_is_wider_than_the_terminal() {
    for columns in [20, 40, 80, 120] {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        let wide = "城の夜に降る雪と遠い灯りの長い長い場面その一その二その三";
        folder.workflow(&format!("{wide}.json"), &plateau("video/a", 4000));
        let emoji = "a-name-that-no-terminal-of-eighty-columns-has-any-room-for-at-all-or-more";
        let failing = graphs::failing(&"路径/🦊/ein-Wort-das-kein-Ende-nimmt ".repeat(4));
        folder.workflow(&format!("{emoji}.json"), &failing);
        let [a, b] = [wide, emoji].map(|name| format!("{name}.json"));
        let words = ["-SceneRetryBudget", "0", "-MaxPeakMB", "1", &a, &b];
        let (screen, ran) = run_on(&server, &folder, columns, &words);
        ran.exits(1);
        // A figure is never cut.
        let rows: String = screen.split_whitespace().collect();
        for part in ["6240", "+4000", "1of2scenesfailed", "(exit1)"] {
            assert!(rows.contains(part), "{part} at {columns}:\n{screen}");
        }
        let words = ["summary", "--max-peak-mb", "1"];
        let (.., ran) = Terminal::start(&folder, columns, &[XTERM], &words).end();
        ran.exits(1);
    }
}

#[test]
fn a_row_grows_and_a_resize_leaves_nothing_behind() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let mut graph = long("video/forest", 4000);
    graph["2"]["inputs"]["steps"] = 1000.into();
    folder.workflow("forest.json", &graph);
    folder.workflow("after.json", &long("video/after", 100));
    let url = server.url();
    let words = ["--comfyui-url", &url, "forest.json", "after.json"];
    let terminal = Terminal::start(&folder, 80, &[XTERM], &words);
    let shown = terminal.until_it_shows(" MB  node 2 HoldMemory ");
    terminal.until_it_shows("  6240 MB  node 2 HoldMemory ");
    let left = terminal.until_it_shows("/1000, about ");
    assert!(left.contains(" left"), "{left}");
    assert!(shown.starts_with("ComfyUI 0.3.64 · RTX 4090, 24576 MB, 2240 in use"), "{shown}");
    for (columns, wanted) in [(40, "/1000 6240 MB"), (20, " 6240 MB"), (120, " left   1 of 2")] {
        terminal.resize(columns);
        let screen = terminal.until_it_shows(wanted);
        let live = |line: &&str| line.starts_with(SPINNER);
        // One row alone tells of it; the opening's were as wide as the terminal was.
        assert_eq!(screen.lines().filter(live).count(), 1, "{columns}\n{screen}");
    }
    server.finish_running();
    terminal.until_it_shows("  node 2 HoldMemory   2 of 2");
    server.finish_running();
    let (screen, got, ran) = terminal.end();
    ran.exits(0);
    assert!(got.contains(CYAN) && !screen.contains(SPINNER), "{screen}");
    assert!(got.contains(&format!("  {DIM}forest.mp4{PLAIN}  ")), "{got:?}");
    assert!(got.contains(&format!("\nReport     {DIM}logs/")), "{got:?}");
    let colours = [GREEN, RED, CYAN, DIM, PLAIN];
    let others = got.split(ESCAPE).filter(|part| {
        part.starts_with('[')
            && part.split_once('m').is_some_and(|(sign, _)| {
                sign[1..].chars().all(|c| c.is_ascii_digit())
                    && !colours.contains(&format!("{ESCAPE}{sign}m").as_str())
            })
    });
    assert_eq!(others.count(), 0, "{got:?}");
}

#[test]
fn whatever_is_waited_for_has_a_row() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::from_image("a", "x.png"));
    folder.write("cat.png", b"\x89PNG\r\n\x1a\n");
    server.stop_listening();
    let url = server.url();
    let words = ["--comfyui-url", &url, "--wait-for-comfyui", "60", "flow.json"];
    let words = [&words[..], &["--set", "1.image=@cat.png"]].concat();
    let first = Terminal::start(&folder, 80, &[XTERM], &words);
    let waiting = format!("waiting for ComfyUI at {url} 0:");
    first.until_it_shows(&waiting);
    // The second waits for the first.
    let second = Terminal::start(&folder, 80, &[("TERM", "dumb")], &words);
    second.until_it_shows("waiting up to 60 s for ");
    let slow = Fault::Delay(Duration::from_secs(2));
    server.fail_next("POST /upload/image", 1, slow);
    server.listen_again();
    first.until_it_shows("uploading cat.png");
    let (screen, _, ran) = first.end();
    ran.exits(0);
    assert!(!screen.contains("waiting") && !screen.contains("uploading"), "{screen}");
    let (_, got, ran) = second.end();
    ran.exits(0);
    assert!(!got.contains([ESCAPE]), "{got:?}");
}

#[test]
fn a_scene_in_the_queue_tells_its_place_and_without_colours_the_row_is_the_same() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    somebody_posts(&server, &long("x", 64));
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let url = server.url();
    let words = ["--comfyui-url", &url, "flow.json"];
    let environment = [XTERM, ("NO_COLOR", "1")];
    let terminal = Terminal::start(&folder, 80, &environment, &words);
    terminal.until_it_shows("   2304 MB  queued, 1 before it   1 of 1");
    server.finish_running();
    let (screen, got, ran) = terminal.end();
    ran.exits(0);
    assert!(screen.contains("\n✓ flow     0:0"), "{screen}");
    assert!([GREEN, RED, CYAN, DIM, PLAIN].iter().all(|colour| !got.contains(colour)), "{got:?}");
}

#[test]
fn ctrl_c_leaves_the_terminal_clean() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &long("video/flow", 64));
    let url = server.url();
    let words = ["--comfyui-url", &url, "flow.json"];
    let terminal = Terminal::start(&folder, 80, &[XTERM], &words);
    terminal.until_it_shows("  2304 MB  node 2 HoldMemory");
    signals::ctrl_c(terminal.running.as_ref().unwrap());
    let (screen, _, ran) = terminal.end();
    ran.exits(130);
    is_shown(
        &screen,
        &folder,
        &expect![[r"
            ComfyUI 0.3.64 · RTX 4090, 24576 MB, 2240 in use · queue empty · at most 10 min
            stopping… (again in N s or later to quit at once)
            ✗ flow     M:SS  interrupted: by a signal (Ctrl-C); cancelled on the server
            ✗ interrupted after N s (exit 130)
            VRAM peak  2304 of 24576 MB (9 %), 22272 to spare, in node N
            After      GPU idle, queue empty, 2240 MB in use as before
            Report     logs/RUN-ID/report.html
            Next       run-comfyui-e2e …
        "]],
    );
}

/// A second Ctrl-C ends the process at once, from another thread.
#[test]
fn a_second_ctrl_c_leaves_it_clean_too() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::deaf("video/flow", 600.0, 600.0));
    let url = server.url();
    let words = ["--comfyui-url", &url, "flow.json"];
    let terminal = Terminal::start(&folder, 80, &[XTERM], &words);
    terminal.until_it_shows("node 2 HoldMemory");
    signals::ctrl_c(terminal.running.as_ref().unwrap());
    terminal.until_it_shows("stopping…");
    // What comes sooner is the same interrupt.
    thread::sleep(Duration::from_millis(2100));
    signals::ctrl_c(terminal.running.as_ref().unwrap());
    let (screen, _, ran) = terminal.end();
    ran.exits(130);
    assert!(screen.ends_with("stopping… (again in 2 s or later to quit at once)\n"), "{screen}");
}

#[test]
fn verbose_gives_a_terminal_every_line() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("good.json", &graphs::images("img/good", 1, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let url = server.url();
    let words = ["--comfyui-url", &url, "-SceneRetryBudget", "0", "--verbose"];
    let words = [&words[..], &["good.json", "bad.json"]].concat();
    let (shown, _, ran) = {
        let (_, got, ran) = Terminal::start(&folder, 2000, &[XTERM], &words).end();
        let plain = [GREEN, RED, CYAN, DIM, PLAIN, "\r", "\u{1b}[J"];
        (plain.iter().fold(got.clone(), |text, sign| text.replace(sign, "")), got, ran)
    };
    ran.exits(1);
    for line in folder.read("run-summary.txt").lines() {
        assert!(shown.contains(line), "{line:?}\n{shown}");
    }
}

#[test]
fn the_curve_fits_the_terminal() {
    let folder = Folder::new();
    folder.write("short.log", LOG.replace("=19100MB", "=10100MB"));
    for (columns, scale, curve) in [
        (200, "VRAM ▁ 2240 █ 19102 MB driver, 12:01:00 to 12:01:20", "▁█ ▄▁"),
        (20, "▁ 2240 █ 19102 MB", "▁█ ▄▁"),
        // No size is known of it.
        (0, "VRAM ▁ 2240 █ 19102 MB driver, 12:01:00 to 12:01:20", "▁█ ▄▁"),
    ] {
        let (shown, ran) = on_terminal(&folder, columns, &[XTERM], &["summary", "short.log"]);
        ran.exits(0);
        let mut lines = shown.lines().skip_while(|line| !line.contains(BLOCKS));
        assert_eq!((lines.next(), lines.next()), (Some(scale), Some(curve)), "{columns}\n{shown}");
        assert!(shown.starts_with("VRAM peak"), "{shown}");
    }
}

#[test]
fn colours_follow_the_environment_and_the_options() {
    let folder = Folder::new();
    folder.write("old.log", LOG);
    let words = ["summary", "old.log", "--max-peak-mb", "20000"];
    let off = [&words[..], &["--no-color"]].concat();
    let on = [&words[..], &["-NoColor:$false"]].concat();
    for (environment, words, colours, curve) in [
        (&[XTERM][..], &words[..], true, true),
        (&[XTERM, ("NO_COLOR", "1")], &words, false, true),
        (&[XTERM, ("NO_COLOR", "")], &words, true, true),
        (&[XTERM, ("NO_COLOR", "1")], &on, true, true),
        (&[XTERM], &off, false, true),
        (&[("TERM", "dumb")], &words, false, false),
        (&[("TERM", "linux")], &words, true, false),
        (&[], &words, false, false),
        (&[("WT_SESSION", "x")], &words, true, true),
    ] {
        let (shown, ran) = on_terminal(&folder, 80, environment, words);
        ran.exits(0);
        let has = (shown.contains(GREEN), shown.contains('█'));
        assert_eq!(has, (colours, curve), "{environment:?} {words:?}\n{shown}");
    }
}

#[test]
fn a_dumb_terminal_gets_no_live_line_and_json_no_colours() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 0.7, 64, 1));
    let url = server.url();
    let words = ["--comfyui-url", &url, "-SampleIntervalSeconds", "0.1", "flow.json"];
    let (shown, ran) = on_terminal(&folder, 80, &[("TERM", "dumb")], &words);
    ran.exits(0);
    assert!(!shown.contains([ESCAPE, '\r']), "{shown:?}");
    let (shown, ran) = on_terminal(&folder, 2000, &[XTERM], &["summary", "--json"]);
    ran.exits(0);
    assert_eq!(shown, folder.run(&["summary", "--json"]).exits(0).stdout);
}

/// A full pipe on both outputs, like a terminal that was stopped with Ctrl-S.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_nobody_reads_holds_nothing_up() {
    for (words, signal, code) in [
        (&["-MaxWaitSeconds", "2", "-SceneRetryBudget", "0"][..], None, 4),
        (&["--json"], Some("-TERM"), 130),
        (&[], Some("-TERM"), 130),
    ] {
        let (server, folder) = (StandIn::start(), Folder::new());
        folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 64, 1));
        let (_reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&vec![b'x'; 1 << 16]).unwrap();
        let url = server.url();
        let words = [&["--comfyui-url", &url, "-Sample", "0.2", "flow.json"], words].concat();
        let begun = Instant::now();
        let running = folder.start_with(&words, |command| {
            command.stderr(writer.try_clone().unwrap());
            if !words.contains(&"--json") {
                command.stdout(writer);
            }
        });
        assert!(server.wait_until_running(SOON));
        signal.inspect(|name| signals::signal(&running, name));
        let ran = running.wait().exits(code);
        assert_eq!(ran.stdout.starts_with("{\n"), words.contains(&"--json"), "{ran}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(server.queue_is_empty());
        let summary = folder.read("run-summary.txt");
        let told = "] WARNING: the terminal or its pipe did not take ";
        assert!(summary.contains("=== RUN COMPLETE ===") && summary.contains(told), "{summary}");
        let readings = folder.read("vram-usage.log").matches(",Used=").count();
        assert!(signal.is_some() || readings >= 5, "{readings}");
    }
}
