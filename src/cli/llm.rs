//! The script's language models: the story's provider, and LM Studio on the same card.

use std::ffi::OsString;
use std::fmt;

use super::UsageError;
use super::args::{ParsedArgs, Setting};
use super::parser::RawFlag;
use super::row::{Id, Kind};
use crate::http::ServerUrl;

/// Whether a story is written by a model, by which, and who has to leave the card first. `Debug`
/// shows no credentials.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct LlmOptions {
    /// The generator makes its story without a model.
    pub mock: bool,
    /// A local model was asked for by name.
    pub local: bool,
    /// The provider of the story, if one is configured.
    pub provider: Option<ServerUrl>,
    /// What is asked before the story, in place of the provider's `/v1/models`.
    pub health_url: Option<ServerUrl>,
    /// Whether that is not asked.
    pub skip_health_check: bool,
    /// Where LM Studio answers. Default: `http://127.0.0.1:1234`.
    pub lm_studio: ServerUrl,
    /// Whether its models stay loaded.
    pub skip_unload: bool,
    /// Variables for the story generator, from the command line: what is in the environment reaches
    /// it by itself. The values may hold credentials.
    pub variables: Vec<(&'static str, OsString)>,
}

impl fmt::Debug for LlmOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.variables.iter().map(|(name, _)| name).collect();
        f.debug_struct("LlmOptions")
            .field("mock", &self.mock)
            .field("local", &self.local)
            .field("provider", &self.provider)
            .field("health_url", &self.health_url)
            .field("skip_health_check", &self.skip_health_check)
            .field("lm_studio", &self.lm_studio)
            .field("skip_unload", &self.skip_unload)
            .field("variables", &variables)
            .finish()
    }
}

/// The options that the generator reads from its environment.
const HANDED_ON: [Id; 6] = [
    Id::LocalLLMProviderUrl,
    Id::LocalLLMModel,
    Id::LocalLLMSeed,
    Id::LocalLLMTemperature,
    Id::LocalLLMTimeoutMs,
    Id::LocalLLMRequestFormat,
];

/// The options, and what to tell the user of the environment.
pub(super) fn llm(line: &ParsedArgs) -> Result<(LlmOptions, Vec<String>), UsageError> {
    let mut warnings = Vec::new();
    let mut variables = Vec::new();
    for id in HANDED_ON {
        let Some(given) = line.given(id) else { continue };
        if let Kind::Number(..) = id.row().kind {
            line.decimal(id)?;
        }
        variables.extend(id.row().env.iter().map(|name| (*name, trimmed(given))));
    }
    let skip_by_environment =
        (line.env.var)("LOCAL_LLM_SKIP_HEALTHCHECK").is_some_and(|value| value == "1");
    let options = LlmOptions {
        mock: line.on(Id::UseMockLLM),
        local: line.on(Id::UseLocalLLM),
        provider: url_of_others(line, Id::LocalLLMProviderUrl, &mut warnings)?,
        health_url: url_of_others(line, Id::LocalLLMHealthcheckUrl, &mut warnings)?,
        skip_health_check: line.on(Id::SkipLLMHealthCheck) || skip_by_environment,
        lm_studio: url(&line.setting(Id::LMStudioEndpoint), Id::LMStudioEndpoint)?,
        skip_unload: line.on(Id::SkipLMStudioUnload),
        variables,
    };
    Ok((options, warnings))
}

fn trimmed(given: &RawFlag) -> OsString {
    given.value.to_str().map_or_else(|| given.value.clone(), |text| text.trim().into())
}

/// A URL that may stand in the environment for other programs: one that this program cannot use is
/// no reason to refuse a run there.
fn url_of_others(
    line: &ParsedArgs,
    id: Id,
    warnings: &mut Vec<String>,
) -> Result<Option<ServerUrl>, UsageError> {
    let setting = line.setting(id);
    if setting.value.is_empty() {
        return Ok(None);
    }
    match url(&setting, id) {
        Ok(url) => Ok(Some(url)),
        Err(error) if line.given(id).is_some() => Err(error),
        Err(error) => {
            warnings.push(format!("{error}: not used"));
            Ok(None)
        }
    }
}

fn url(setting: &Setting, id: Id) -> Result<ServerUrl, UsageError> {
    let url = setting.value.to_str().ok_or("it is not Unicode").and_then(ServerUrl::parse);
    let takes = id.row().kind.takes();
    url.map_err(|why| UsageError(format!("{} takes {takes}, but {why}", setting.label)))
}
