//! Where a run puts what others have named.

use std::collections::HashSet;

use super::download::destinations;
use super::plan;
pub(crate) use super::plan::Scene;
use crate::cli::RunOptions;
use crate::comfyui::HistoryEntry;
use crate::project::story::Story;
use crate::project::workflow_source::WorkflowSource;
use crate::properties::is_inside;

/// The places of a scene's files and texts, each of its own, and inside the run folder on every system.
pub(crate) fn places(scene: &str, entry: &HistoryEntry) -> Vec<String> {
    let paths: Vec<String> = destinations(scene, entry).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths.len(), entry.files.len() + entry.texts.len());
    let mut taken = HashSet::new();
    for path in &paths {
        is_inside(path);
        assert!(taken.insert(path.to_lowercase()), "{path} twice");
    }
    for path in &paths {
        // While it is written it has another name.
        assert!(!taken.contains(&format!("{path}.part").to_lowercase()), "{path}.part");
    }
    paths
}

/// The scenes of a story in a template; without a story, of the template by itself.
pub(crate) fn scenes(
    options: &RunOptions,
    story: Option<&Story>,
    template: &WorkflowSource,
) -> Result<Vec<Scene>, String> {
    match story {
        Some(story) => plan::story_scenes(options, story, template),
        None => plan::workflow_scenes(options, template),
    }
}
