//! `report.html`, and the page that `summary` and `monitor` write on demand.

use std::fs;
use std::path::Path;

use percent_encoding::percent_decode_str;

use crate::stand_in::{Config, StandIn, graphs};
use crate::summary_verb::LOG;
use crate::support::{Folder, files, run_sampled};

/// What a page refers to, as files from the folder where it lies.
fn links(page: &str) -> Vec<String> {
    let (_, body) = page.split_once("</style>").expect("a style");
    let starts = ["href=\"", "src=\""];
    let links = starts.iter().flat_map(|start| body.split(start).skip(1));
    let link = |rest: &str| {
        percent_decode_str(rest.split('"').next().unwrap()).decode_utf8_lossy().into_owned()
    };
    links.map(link).collect()
}

#[track_caller]
fn leads_to_files(page: &Path, at_least: usize) {
    let text = fs::read_to_string(page).unwrap();
    let links = links(&text);
    assert!(links.len() >= at_least, "{links:?}");
    for link in links {
        assert!(!link.contains(':') && !link.starts_with('/'), "{link} is not relative");
        assert!(page.parent().unwrap().join(&link).is_file(), "{link} is not there");
    }
}

#[test]
fn a_run_leaves_a_page_that_leads_to_its_files() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 1000, 1));
    folder.workflow("stills.json", &graphs::images("img/s t#1", 2, 3));
    folder.workflow("bad.json", &graphs::failing("<b>it</b> \"broke\""));
    let words = ["-SampleIntervalSeconds", "0.05", "flow.json", "stills.json", "bad.json"];
    run_sampled(&server, &folder, &words, &["flow"]).exits(1);
    let run = folder.newest();
    let page = folder.read("report.html");
    leads_to_files(&run.join("report.html"), 7);
    for part in [
        "<h1 class=\"bad\">FAILED: 1 of 3 scenes, exit 1 (failed)</h1>",
        "<svg class=\"plot\"",
        "<title>flow</title>",
        "&lt;b&gt;it&lt;/b&gt; &quot;broke&quot;",
        "src=\"video/flow/flow.mp4\"",
        "<dt>ComfyUI</dt>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("<script") && !page.contains("<b>it"), "{page}");
    assert!(!files(&run).concat().contains(".part"), "{:?}", files(&run));

    // The page is a function of what the run left.
    let name = run.file_name().unwrap().to_str().unwrap();
    let inside = format!("logs/{name}/again.html");
    folder.run(&["summary", "--html", &inside]).exits(0).says("FAILED: 1 of 3 scenes");
    assert_eq!(folder.read("again.html"), page);
    folder.write("a b/keep", "");
    folder.run(&["summary", "-Html", "a b/page.html", &format!("logs/{name}")]).exits(0);
    leads_to_files(&folder.path().join("a b/page.html"), 7);
}

#[test]
fn the_page_of_an_unreachable_server_says_so() {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    folder.run_on("http://127.0.0.1:1", &["flow.json"]).exits(3);
    let page = folder.read("report.html");
    assert!(page.contains("No VRAM sample was taken") && page.contains("start it, or"), "{page}");
    assert!(!page.contains("<svg"), "{page}");
    leads_to_files(&folder.newest().join("report.html"), 2);
}

#[test]
fn the_page_of_a_log_has_its_figures() {
    let folder = Folder::new();
    folder.write("old.log", LOG);
    let ran = folder.run(&["summary", "old.log", "--html", "page.html"]).exits(0);
    assert_eq!(ran.stdout, folder.run(&["summary", "old.log"]).stdout);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("<h1>VRAM of old.log</h1>") && page.contains("peak 19102 MB"), "{page}");
    assert!(!page.contains("exit ") && !page.contains("Environment"), "{page}");
    assert_eq!(links(&page), [""; 0]);
}

#[test]
fn a_monitor_writes_its_page_with_or_without_a_log() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let monitor = |words: &[&str]| {
        let first =
            ["monitor", "--comfyui-url", &server.url(), "--sample-interval-seconds", "0.05"];
        folder.run(&[&first, words].concat()).exits(0)
    };
    monitor(&["--duration", "0.3", "--html", "page.html", "--quiet"]);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("<svg class=\"plot\"") && page.contains("peak 2240 MB"), "{page}");
    assert!(!folder.path().join("vram.log").exists());
    monitor(&["--duration", "0.2", "--html", "page.html", "--log", "vram.log"]);
    folder.run(&["summary", "vram.log", "--html", "again.html"]).exits(0);
    let of = |name: &str| {
        let page = fs::read_to_string(folder.path().join(name)).unwrap();
        page[page.find("<section").unwrap()..].to_owned()
    };
    assert_eq!(of("page.html"), of("again.html"));
}

#[test]
fn a_monitor_of_a_cpu_server_tells_of_ram() {
    let (server, folder) = (StandIn::with(Config::default()), Folder::new());
    let words =
        ["monitor", "--comfyui-url", &server.url(), "--duration", "0.3", "--html", "p.html"];
    folder.run(&words).exits(0);
    let page = fs::read_to_string(folder.path().join("p.html")).unwrap();
    let (_, body) = page.split_once("</style>").unwrap();
    assert!(body.contains("<h1>RAM recorded by monitor</h1>"), "{body}");
    assert!(body.contains("RAM over time</h2>") && !body.contains("VRAM"), "{body}");
}
