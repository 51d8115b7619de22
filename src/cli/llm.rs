//! The script's language models: the story's provider, and LM Studio on the same card.

use std::ffi::OsString;
use std::fmt;

use super::UsageError;
use super::args::ParsedArgs;
use super::flags::{FlagId, Kind};
use super::parser::FlagValue;
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
            .field("provider", &self.provider)
            .field("variables", &variables)
            .finish_non_exhaustive()
    }
}

/// The options that the generator reads from its environment.
const HANDED_ON: [FlagId; 6] = [
    FlagId::LocalLLMProviderUrl,
    FlagId::LocalLLMModel,
    FlagId::LocalLLMSeed,
    FlagId::LocalLLMTemperature,
    FlagId::LocalLLMTimeoutMs,
    FlagId::LocalLLMRequestFormat,
];

/// The options, and what to warn the user of in the environment.
pub(super) fn llm(args: &ParsedArgs) -> Result<(LlmOptions, Vec<String>), UsageError> {
    let mut warnings = Vec::new();
    let mut variables = Vec::new();
    for id in HANDED_ON {
        let Some(given) = args.given(id) else { continue };
        if let Kind::Number(..) = id.flag().kind {
            args.decimal(id)?;
        }
        variables.extend(id.flag().env.iter().map(|name| (*name, trimmed(given))));
    }
    let skip_by_environment =
        (args.env.var)("LOCAL_LLM_SKIP_HEALTHCHECK").is_some_and(|value| value == "1");
    let options = LlmOptions {
        mock: args.on(FlagId::UseMockLLM),
        local: args.on(FlagId::UseLocalLLM),
        provider: optional_url(args, FlagId::LocalLLMProviderUrl, &mut warnings)?,
        health_url: optional_url(args, FlagId::LocalLLMHealthcheckUrl, &mut warnings)?,
        skip_health_check: args.on(FlagId::SkipLLMHealthCheck) || skip_by_environment,
        lm_studio: args.value(FlagId::LMStudioEndpoint).parse(ServerUrl::parse)?,
        skip_unload: args.on(FlagId::SkipLMStudioUnload),
        variables,
    };
    Ok((options, warnings))
}

fn trimmed(given: &FlagValue) -> OsString {
    given.value.to_str().map_or_else(|| given.value.clone(), |text| text.trim().into())
}

/// A URL that may stand in the environment for other programs: one that this program cannot use is
/// no reason to refuse a run there.
fn optional_url(
    args: &ParsedArgs,
    id: FlagId,
    warnings: &mut Vec<String>,
) -> Result<Option<ServerUrl>, UsageError> {
    let value = args.value(id);
    if value.value.is_empty() {
        return Ok(None);
    }
    match value.parse(ServerUrl::parse) {
        Err(error) if args.given(id).is_none() => {
            warnings.push(format!("{error}: not used"));
            Ok(None)
        }
        url => url.map(Some),
    }
}
