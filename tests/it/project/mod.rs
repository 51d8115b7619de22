//! A project laid out like the script's: its story, its helpers, its readers.

pub mod bench;
mod unusual;
pub mod validator;

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::stand_in::graphs;
use crate::support::line;

use bench::{HELPERS, Project, ROOT, template};

#[track_caller]
pub fn satisfies(project: &Project) {
    let summary = project.folder.read("run-summary.txt");
    let metadata = project.folder.metadata();
    let broken = validator::broken(&summary, &metadata);
    assert!(broken.is_empty(), "{broken:#?}\n{summary}\n{metadata:#}");
    // A path that is told is that of a file.
    for place in ["/VitestLogs", "/HelperSummaries/MappingPreflight"] {
        for path in metadata.pointer(place).unwrap().as_object().unwrap().values() {
            assert!(path == "none" || Path::new(path.as_str().unwrap()).is_file(), "{path}");
        }
    }
}

#[test]
#[allow(clippy::too_many_lines)] // most of them are lines of the summary
fn without_arguments_it_does_what_the_script_did() {
    const LINES: &str = "\
        Initial VRAM: Used=2140MB Free=22436MB Total=24576MB|Queue policy: sceneRetries=1|\
        === STEP 0: Preflight (Mappings + ComfyUI Status) ===|Step 0: Mapping preflight summary: |\
        ComfyUI status summary: |Using ComfyUI URL: http://127.0.0.1:|\
        === STEP 1: Generate Story ===|[LLM] Health check: skipped (no local provider configured)|\
        Story ready: story-42 (scenes=3)|Director's vision: Quiet.|\
        Story logline: A fox crosses the Straße.|\
        Story LLM status: success (provider=http://***@127.0.0.1:1234/v1, seed=42, duration=8011ms)|\
        === STEP 1.5: Unload LM Studio Model ===|\
        Scenes to process: scene-001, scene-002, scene-003|\
        === STEP 2: Generate Videos (WAN I2V) ===|[Scene scene-001] Starting video generation...|\
        [Scene scene-001] Wan2 prompt queued: prompt_id=|\
        [Scene scene-001] Wan2 execution completed (|[Scene scene-001] Wan2 video detected: |\
        [Scene scene-001] ✓ Video generation completed (|\
        [Scene scene-001] Telemetry: DurationSeconds=|\
        WAN I2V generation summary: 3 succeeded, 0 failed|\
        ✓ WAN I2V generation completed successfully|=== STEP 3: Validate Results ===|\
        Videos generated: 3|   - scene-001.mp4 (|Expected scenes: 3|\
        ✓ SUCCESS: All scenes produced videos|=== VRAM Usage Statistics ===|\
        === STEP 4: Validation Metrics ===|=== STEP 4.5: Video Quality Validation ===|\
        === STEP 6: Vitest Suites ===|Vitest scripts exitCode=0|\
        === STEP 7: Artifact Metadata + UI Snapshot ===|## Artifact Index|Story folder: |\
        Scenes captured: 3|Total frames copied: 6|Vitest comfyUI log: |Archive: |\
        Run-summary validator exitCode=0|=== RUN COMPLETE ===|Run directory: |Archive: |\
        Videos: 3/3|OK: 3 of 3 scenes, exit 0";
    let project = Project::new();
    fs::create_dir_all(project.root().join("public")).unwrap();
    let ran = project.run("", &[]).exits(0).says("OK: 3 of 3 scenes, exit 0").says("Videos: 3/3\n");
    satisfies(&project);
    let run = project.folder.newest();
    let text = |path: &Path| path.display().to_string();
    let root = text(&project.root());
    let notes = project.notes();
    let scripts: Vec<&str> = notes
        .iter()
        .filter_map(|note| note.split('\t').find(|word| word.contains("scripts")))
        .map(|script| script.rsplit(['/', '\\']).next().unwrap())
        .collect();
    let mut order = HELPERS.to_vec();
    order.insert(2, "generate-story-scenes.ts");
    assert_eq!(scripts, order);
    let words: Vec<Vec<&str>> = notes.iter().map(|note| note.split('\t').collect()).collect();
    let status = run.join("test-results").join("comfyui-status");
    let log = status.join("mapping-preflight.log");
    assert_eq!(words[0][..2], ["npx", "tsx"]);
    let preflight =
        ["--project", &root, "--summary-dir", &text(&status), "--log-path", &text(&log)];
    assert_eq!(words[0][3..9], preflight);
    assert_eq!(words[1][9], format!("LOCAL_COMFY_URL={}", project.server.url()));
    let story = text(&run.join("story"));
    let generator =
        ["--output", &story, "--scenes", "3", "--customStoryIdea", "a fox & \"friends\""];
    assert_eq!(words[2][3..9], generator);
    assert_eq!(words[5][1..5], ["-NoLogo", "-ExecutionPolicy", "Bypass", "-File"]);
    assert_eq!(words[5][6..10], ["-ProjectRoot", &root, "-RunDir", &text(&run)]);
    let said = fs::read_to_string(run.join("steps/validation-metrics.log")).unwrap();
    assert_eq!(said.trim_end(), "stand-in of validation-metrics.ts");

    let summary = project.folder.read("run-summary.txt");
    let mut rest = summary.as_str();
    for line in LINES.split('|') {
        let (_, behind) = rest.split_once(line).unwrap_or_else(|| panic!("{line}: {ran}"));
        rest = behind;
    }
    let both = summary.clone() + &project.folder.read("artifact-metadata.json");
    assert!(!both.contains("s3cret"), "{both}");
    // What a helper added to the metadata stays, in the copies too.
    for copy in ["public/artifacts/latest-run.json", "public/artifact-metadata.json"] {
        let copy = fs::read_to_string(project.root().join(copy)).unwrap();
        assert_eq!(copy, project.folder.read("artifact-metadata.json"), "{copy}");
    }
    let metadata = project.folder.metadata();
    assert_eq!(metadata["UpdatedByHelper"], true);
    let gpu = &metadata["Scenes"][0]["Telemetry"]["GPU"];
    assert_eq!((&gpu["VramBeforeMB"], &gpu["VramDeltaMB"]), (&json!(22_436), &json!(0)));
    for when in ["Before", "After"] {
        let answer = &metadata["Scenes"][2]["Telemetry"]["System"][when];
        let asked = [&answer["system"]["os"], &answer["devices"][0]["vram_total"]];
        assert_eq!(asked, [&json!("posix"), &json!(24_576_u64 << 20)], "{answer}");
    }
    let log = |key: &str| metadata["VitestLogs"][key].as_str().unwrap().rsplit('/').next();
    assert_eq!(
        [log("ComfyUI"), log("ResultsJson")],
        ["vitest-comfyui.log", "vitest-results.json"].map(Some)
    );
    assert_eq!(metadata["Story"]["LLM"]["providerUrl"], "http://***@127.0.0.1:1234/v1");
    let archives: Vec<_> = fs::read_dir(project.root().join("artifacts")).unwrap().collect();
    assert_eq!(archives.len(), 1);
    let name = archives[0].as_ref().unwrap().file_name();
    let id = run.file_name().unwrap().to_str().unwrap();
    assert_eq!(name.to_str().unwrap(), format!("comfyui-e2e-{id}.zip"));
    // The steps before the scenes are sampled too.
    let log = project.folder.read("vram-usage.log");
    assert!(!log.lines().next().unwrap().contains("Scene="), "{log}");
}

#[test]
fn a_failed_scene_satisfies_the_validator_too() {
    let project = Project::new();
    let mut graph = template(0.1);
    graph["2"] = json!({"class_type": "FailOn", "inputs": {
        "image": ["1", 0], "text": "__SCENE_ID__", "fail": "scene-002",
    }});
    project.template(&graph);
    let ran = project.run("", &["-FastIteration"]);
    let ran = ran.exits(1).says("⚠ PARTIAL: 2/3 videos generated").says("Videos: 2/3\n");
    let run = project.folder.newest();
    let run = run.file_name().unwrap().to_string_lossy();
    let next = line(&ran.stdout, "Next: ").replace('\\', "/").replace('"', "");
    let end = format!(" --story logs/{run}/story --scene-filter scene-002");
    assert!(next.contains(" --fast-iteration ") && next.ends_with(&end), "{ran}");
    let log = project.folder.newest().join("vitest-telemetry-shape.log");
    ran.says(&format!("Vitest scripts log: {}\n", log.display()))
        .says("Vitest comfyUI log: none\n")
        .says("[Scene scene-002] Wan2 video missing\n")
        .says("[Scene scene-002] ERROR: failed: node 2 FailOn: RuntimeError: ")
        .says("⚠ WAN I2V generation partially completed\n");
    satisfies(&project);
    // It made nothing, which is known; what a video holds is not.
    let frames = |scene: usize| {
        let scene = &project.folder.metadata()["Scenes"][scene];
        [scene["FrameCount"].clone(), scene["MeetsFrameFloor"].clone()]
    };
    assert_eq!((frames(0), frames(1)), ([json!(null), json!(null)], [json!(0), json!(false)]));
    let vitest = project.notes().into_iter().find(|note| note.contains("run-vitests")).unwrap();
    assert!(vitest.contains("\t-Quick\t"), "{vitest}");
}

/// Command lines of the script's callers, with what they say of the queue's policy, and a part of what
/// the story generator is given. What each option means is a unit test of the options.
#[test]
fn the_script_s_command_lines_work_in_a_project() {
    let fast = "historyMaxWait=360s, historyPollInterval=1s, historyMaxAttempts=unbounded, \
                postExecutionTimeout=15s";
    for (words, policy, given) in [
        (
            "-SceneRetryBudget 0 -FastIteration -UseMockLLM -LocalLLMSeed 42",
            &format!("sceneRetries=0, {fast}")[..],
            &["\t--useMockLLM\t", "LOCAL_LLM_SEED=42"][..],
        ),
        (
            "-SceneMaxWaitSeconds 900 -SceneHistoryMaxAttempts 5 -SceneHistoryPollIntervalSeconds 5 \
             -ScenePostExecutionTimeoutSeconds 60 -SceneRetryBudget 1 -UseLocalLLM \
             -LocalLLMProviderUrl PROVIDER -LocalLLMModel M -LocalLLMSeed 42 \
             -LocalLLMTemperature 0.35 -LocalLLMTimeoutMs 120000 -LocalLLMRequestFormat openai-chat",
            "sceneRetries=1, historyMaxWait=900s, historyPollInterval=5s, historyMaxAttempts=5, \
             postExecutionTimeout=60s",
            &["LOCAL_LLM_SEED=42"],
        ),
        (
            "-Fast -MaxW: 0x258 –SceneR 6e0 -SkipLLMHealthCheck",
            "sceneRetries=6, historyMaxWait=600s",
            &[],
        ),
        (
            "-FastIteration -ErrorAction SilentlyContinue -LMStudioEndpoint http://127.0.0.1:9",
            &format!("sceneRetries=1, {fast}"),
            &[],
        ),
        ("ROOT -StopComfyUI -Debug", "sceneRetries=1, historyMaxWait=600s", &[]),
    ] {
        let project = Project::new();
        // The provider answers as ComfyUI would not; the health check has a URL that does.
        let (root, url) = (project.root(), project.server.url());
        let health = format!(" -LocalLLMHealthcheckUrl {url}/system_stats");
        let health = if words.contains("PROVIDER") { &health } else { "" };
        let words = words.replace("PROVIDER", &format!("{url}/v1/chat/completions")) + health;
        let words = words.split_whitespace().map(|word| match word {
            "ROOT" => root.to_str().unwrap(),
            word => word,
        });
        let ran = project.run("", &words.collect::<Vec<_>>()).exits(0);
        let ran = ran.says("OK: 3 of 3 scenes, exit 0").says(&format!("Queue policy: {policy}"));
        satisfies(&project);
        let story = &project.notes()[2];
        assert!(given.iter().all(|part| story.contains(part)), "{story}");
        let unbounded = ran.stdout.contains(" | SceneRetryBudget=unbounded | ");
        assert_eq!(unbounded, policy.starts_with("sceneRetries=0"), "{ran}");
    }
}

#[test]
fn a_helper_that_fails_or_is_not_there_costs_a_warning() {
    let project = Project::new();
    fs::remove_file(project.root().join("scripts/comfyui-status.ts")).unwrap();
    let way =
        "preflight-mappings.ts:fail validate-run-summary.ps1:fail validation-metrics.ts:flood";
    project
        .run(way, &["-Scenes", "1", "-NoArchive"])
        .exits(0)
        .says(
            "WARNING: Mapping preflight: scripts/preflight-mappings.ts: exit code 3; its output: ",
        )
        .says("ComfyUI status skipped: scripts/comfyui-status.ts is not there\n")
        .says("Run-summary validator exitCode=3\n");
    satisfies(&project);
    assert!(!project.root().join("artifacts").exists());
    // All that one prints is in its log, however much it is.
    let log = project.folder.newest().join("steps/validation-metrics.log");
    assert!(fs::metadata(log).unwrap().len() > 2 * 1024 * 1024);
}

#[test]
fn a_helper_whose_log_cannot_be_made_costs_a_warning() {
    let project = Project::new();
    project.server.stop_listening();
    let running = project.start("", &["-Scenes", "1", "-WaitForComfyUI", "60"]);
    running.until_it_says("Waiting up to 60 s for ComfyUI at ");
    let blocked = project.folder.newest().join("steps");
    fs::write(&blocked, "in the way").unwrap();
    project.server.listen_again();
    let why = format!(
        "WARNING: Mapping preflight: scripts/preflight-mappings.ts: it does not start: {}",
        blocked.display()
    );
    running.wait().exits(1).says(&why);
    assert!(project.notes().is_empty());
}

#[test]
fn programs_that_are_not_there_are_named() {
    let project = Project::new();
    for role in ["pwsh", "npx"] {
        let end = if cfg!(windows) { ".cmd" } else { "" };
        fs::remove_file(project.programs_folder().join(format!("{role}{end}"))).unwrap();
        let ran = project.run("", &["-Scenes", "1"]);
        if role == "pwsh" {
            ran.exits(0).says("WARNING: Vitest suites skipped: pwsh is not on the PATH");
        } else {
            let line = "ERROR: no story can be generated: npx is not on the PATH: it is Node.js's; \
                        --story PATH takes one that is there\n";
            ran.exits(1).says("WARNING: Mapping preflight skipped: npx").says(line);
        }
    }
}

#[test]
fn a_story_that_cannot_be_had_ends_the_run_with_its_reason() {
    let exit = "exit code 3; what it said is in ";
    for (way, why) in [("fail", exit), ("nothing", "it wrote no story.json into ")] {
        let project = Project::new();
        let ran = project.run(&format!("generate-story-scenes.ts:{way}"), &[]).exits(1);
        let ran = ran.says(&format!("ERROR: the story generator failed: {why}"));
        let ran = ran.says("; --story PATH takes one that is there\n");
        let ran = ran.says("FAILED: no scene was run, exit 1 (failed)");
        assert_eq!(project.server.posted(), 0, "{ran}");
        assert!(project.notes().iter().all(|note| !note.contains("run-vitests")), "{ran}");
    }
}

#[test]
fn fewer_scenes_than_asked_for_are_told() {
    let project = Project::new();
    project
        .run("generate-story-scenes.ts:few", &["-Scenes", "2", "-NoArchive"])
        .exits(0)
        .says("WARNING: the story has 1 scene, 2 were asked for\n");
    let ran = project.run("", &["-Scenes", "2", "-SceneFilter", "scene-007"]).exits(1);
    ran.says("ERROR: --scene-filter: no scene 'scene-007'");
}

#[test]
fn an_existing_story_takes_the_project_s_template() {
    let project = Project::new();
    let story = r#"{"storyId": "mine", "scenes": [{"id": "scene-001", "prompt": "a fox", "keyframePath": "k.png"}]}"#;
    project.folder.write("mine/story.json", story);
    project.folder.write("mine/k.png", b"\x89PNG\r\n\x1a\n");
    let mine = project.folder.path().join("mine");
    project
        .run("", &["-Story", mine.to_str().unwrap()])
        .exits(0)
        .says("Story ready: mine (scenes=1)\n")
        .says("Story LLM status: skipped\n");
    assert!(project.notes().iter().all(|note| !note.contains("generate-story")));
    let workflow = project.folder.workflow("alone.json", &graphs::images("img", 2, 5));
    project
        .run("", &[workflow.to_str().unwrap()])
        .exits(0)
        .says("Files generated: 1\n")
        .says("✓ SUCCESS: All scenes produced files\n");
    assert!(project.notes().iter().all(|note| !note.contains("generate-story")));
}

#[test]
fn without_a_template_or_a_generator_nothing_is_run() {
    let project = Project::new();
    fs::remove_dir_all(project.root().join("workflows")).unwrap();
    project.run("", &[]).exits(2).complains("no template for the story's scenes: ");
    project.folder.write(&format!("{ROOT}/localGenSettings.json"), "{\"workflowJson\": \"[]\"}");
    project.run("", &[]).exits(2).complains("localGenSettings.json (workflowJson)");
    fs::remove_file(project.root().join("scripts/generate-story-scenes.ts")).unwrap();
    project.run("", &[]).exits(2).complains("nothing to run: ");
    assert!(!project.root().join("logs").exists() && project.notes().is_empty());
}

#[test]
fn what_no_story_makes_up_for_is_refused_before_one_is_generated() {
    let project = Project::new();
    let ran = project.run("", &["--set", "99.text=x"]).exits(2);
    ran.complains("--set 99.text: no node '99'");
    let mut graph = template(0.1);
    graph["20"]["inputs"]["text"] = json!("a fox");
    project.template(&graph);
    let ran = project.run("", &[]).exits(2).complains("put __PROMPT__");
    ran.complains("video_wan2_2_5B_ti2v.json: ");
    assert!(!project.root().join("logs").exists() && project.notes().is_empty());
}

#[test]
fn the_archive_fails_with_one_line() {
    let project = Project::new();
    fs::write(project.root().join("artifacts"), "in the way").unwrap();
    project.run("", &["-Scenes", "1"]).exits(0).says("WARNING: no archive: ");
}
