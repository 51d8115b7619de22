//! A row of the table, and the runs that rows are made of.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scenes::SOON;
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, Ran, Running};

pub const STATS: &str = "GET /system_stats";
pub const HISTORY: &str = "GET /history/";
pub const QUEUE: &str = "GET /queue";
pub const PROMPT: &str = "POST /prompt";
pub const VIEW: &str = "GET /view";
pub const ALWAYS: usize = usize::MAX;

/// Of a run that meets one fault: no attempt, no poll and no stall takes longer than that, wherever
/// many are played beside each other.
const LONGEST: Duration = Duration::from_secs(40);

/// Any outcome will do.
const ANY: &str = "any";

/// What was played, when it is over.
pub struct Played {
    pub server: StandIn,
    pub folder: Folder,
    pub ran: Ran,
}

/// A row of the page, and how it is played.
pub struct Row {
    pub name: String,
    pub what: What,
    /// Of the first scene; `-` where no scene is told of.
    pub outcome: &'static str,
    pub exit: i32,
    sees: String,
    /// What may be said in its place, on a machine that is too busy for the other.
    or: Option<String>,
    /// So many prompts are accepted at most.
    posts: usize,
    /// The prompt may go on where it was posted, since nobody can tell the server.
    stays: bool,
    /// It takes longer than most.
    pub slow: bool,
    play: Box<dyn Fn() -> Played + Send + Sync>,
}

/// How a row stands on the page.
pub enum What {
    /// With what is printed.
    Alone { sees: &'static str },
    /// As one of those that differ only in what came back.
    OneOf { request: &'static str, sees: String },
}

/// A row of its own.
pub fn row(
    name: &'static str,
    sees: &'static str,
    outcome: &'static str,
    exit: i32,
    play: impl Fn() -> Played + Send + Sync + 'static,
) -> Row {
    let what = What::Alone { sees };
    Row::new(name.to_owned(), what, sees.to_owned(), (outcome, exit), play)
}

impl Row {
    /// A row that says `sees`.
    pub fn new(
        name: String,
        what: What,
        sees: String,
        (outcome, exit): (&'static str, i32),
        play: impl Fn() -> Played + Send + Sync + 'static,
    ) -> Self {
        let play = Box::new(play);
        Row { name, what, outcome, exit, sees, or: None, posts: 1, stays: false, slow: false, play }
    }

    /// A row whose scene may end in any way that has a name.
    pub fn any(name: String, play: impl Fn() -> Played + Send + Sync + 'static) -> Self {
        Row::new(name, What::Alone { sees: "" }, String::new(), (ANY, 0), play)
    }

    /// A row that may say something else instead.
    pub fn or(self, sees: String) -> Self {
        Row { or: Some(sees), ..self }
    }

    /// So many prompts are accepted.
    pub fn posts(self, posts: usize) -> Self {
        Row { posts, ..self }
    }

    /// The prompt may go on.
    pub fn stays(self) -> Self {
        Row { stays: true, ..self }
    }

    /// A row that is to be begun early, since it takes long.
    pub fn slow(self) -> Self {
        Row { slow: true, ..self }
    }

    /// Plays it; panics where it is not as it is told.
    pub fn check(&self) {
        let begun = Instant::now();
        let Played { server, folder, ran } = (self.play)();
        let longest = LONGEST * if self.slow { 2 } else { 1 };
        assert!(begun.elapsed() < longest, "{:?}\n{ran}", begun.elapsed());
        if self.outcome == ANY {
            let [(outcome, _)] = &folder.outcomes()[..] else { panic!("no outcome\n{ran}") };
            let code = match outcome.as_str() {
                "succeeded" | "cached" => 0,
                "skipped" | "unreachable" => 3,
                "deadline" => 4,
                "outOfMemory" => 5,
                "lost" => 6,
                _ => 1,
            };
            assert!(!outcome.is_empty() && ran.code == code, "{outcome}\n{ran}");
        } else {
            assert_eq!(ran.code, self.exit, "{ran}");
        }
        let says = |text: &String| ran.stdout.contains(text) || ran.stderr.contains(text);
        let said = says(&self.sees) || self.or.as_ref().is_some_and(says);
        assert!(said, "not seen: {}\n{ran}", self.sees);
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!ran.stdout.contains(control), "{:?}", ran.stdout);
        if !["-", ANY].contains(&self.outcome) {
            assert_eq!(folder.outcomes()[0].0, self.outcome, "{ran}");
            assert_eq!(folder.metadata()["ExitCode"], self.exit, "{ran}");
            assert!(ran.stdout.contains("=== RUN COMPLETE ==="), "{ran}");
        }
        let posted = server.posted();
        assert!(posted <= self.posts, "generated {posted} times\n{ran}");
        let told = self.outcome == ANY && ran.stdout.contains("cancel asked");
        assert!(self.stays || told || server.queue_is_empty(), "something is left\n{ran}");
    }
}

/// A video that is made at once.
pub fn video() -> Value {
    graphs::video("video/a", 0.1, 64, 1)
}

/// One that is made until somebody ends it.
pub fn endless() -> Value {
    graphs::video("video/a", 600.0, 64, 1)
}

pub fn page() -> Fault {
    Fault::Body("<html><body>Bad Gateway</body></html>".to_owned())
}

/// Starts a run of one scene.
pub fn start(server: &StandIn, folder: &Folder, graph: &Value, words: &[&str]) -> Running {
    folder.workflow("a.json", graph);
    let words = [&["-Poll", "0.2", "-Sample", "0.5", "a.json"][..], words].concat();
    folder.start_on(&server.url(), &words)
}

/// A run of one scene against a server that was told to fail before.
pub fn one(server: StandIn, graph: &Value, words: &[&str]) -> Played {
    let folder = Folder::new();
    let ran = start(&server, &folder, graph, words).wait();
    Played { server, folder, ran }
}

/// The same where a route fails.
pub fn with(route: &str, times: usize, fault: Fault, words: &[&str]) -> Played {
    let server = StandIn::start();
    server.fail_next(route, times, fault);
    one(server, &graphs::polled("video/a"), words)
}

/// A run of one scene with something done while its prompt is on the server.
pub fn meanwhile(graph: &Value, words: &[&str], act: impl Fn(&StandIn, &Running)) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = start(&server, &folder, graph, words);
    running.until_it_says("Wan2 prompt queued");
    assert!(server.wait_until_running(SOON));
    act(&server, &running);
    let ran = running.wait();
    Played { server, folder, ran }
}

/// A folder with the story of a scene `a`, its keyframe and its template, and the words for it.
pub fn storied(folder: &Folder) -> [&'static str; 3] {
    folder.write("k.png", b"\x89PNG\r\n\x1a\n");
    let story = r#"{"scenes": [{"id": "a", "prompt": "p", "keyframePath": "k.png"}]}"#;
    folder.write("story.json", story);
    folder.workflow("a.json", &template());
    ["--story", "story.json", "a.json"]
}

/// A template with a place for the prompt, the keyframe and the scene's name.
pub fn template() -> Value {
    let mut template = graphs::from_image("a", "__KEYFRAME_IMAGE__");
    template["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__ __SCENE_ID__"}});
    template
}
