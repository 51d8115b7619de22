//! Whatever is given means the same in both styles, and whatever is typed is answered.

use proptest::prelude::*;

use super::super::flags::{ABOUT, FLAGS, Flag, FlagId, INERT, Kind, Verb};
use super::super::parser::Style;
use super::Fixture;

/// One option with a value that it takes.
#[derive(Clone, Debug)]
struct Choice {
    flag: &'static Flag,
    value: String,
    /// How it is written, of the ways that there are.
    way: usize,
}

fn value(flag: &'static Flag) -> BoxedStrategy<String> {
    match flag.id {
        FlagId::Seed => {
            prop_oneof![any::<u64>().prop_map(|n| n.to_string()), Just("random".into())].boxed()
        }
        FlagId::VramSource => prop::sample::select(vec!["auto", "ComfyUI"]).prop_map_into().boxed(),
        FlagId::NvidiaSmiGpu => "[0-9]|GPU-[0-9a-f]{1,8}".boxed(),
        FlagId::SceneFilter => "[a-z]{1,4}(,[a-z]{1,4}){0,2}".boxed(),
        FlagId::Set => "[0-9]{1,2}\\.[a-z]{1,4}=\\PC{0,6}".boxed(),
        FlagId::ComfyUIUrl
        | FlagId::LMStudioEndpoint
        | FlagId::LocalLLMProviderUrl
        | FlagId::LocalLLMHealthcheckUrl => {
            "(http://)?([a-z]{1,3}:[a-z]{0,3}@)?(localhost|127\\.0\\.0\\.[1-9])(:80[0-9]{2})?"
                .boxed()
        }
        FlagId::Header => "[A-Z]{1,4}: [!-~]{1,6}".boxed(),
        FlagId::Workflow | FlagId::Story | FlagId::Baseline | FlagId::ApiKeyFile => {
            Just("flow.json".to_owned()).boxed()
        }
        FlagId::ProjectRoot => Just("my project".to_owned()).boxed(),
        FlagId::HeaderFile => Just("empty".to_owned()).boxed(),
        FlagId::LocalLLMTemperature => "[0-9](\\.[0-9])?".boxed(),
        // No two may be the same.
        FlagId::JUnit => "[a-z:-]{1,6}\\.xml".boxed(),
        FlagId::Markdown => "[a-z:-]{1,6}\\.md".boxed(),
        FlagId::PromFile => "[a-z:-]{1,6}\\.prom".boxed(),
        FlagId::LogsDir | FlagId::ErrorAction => "[a-z:-]{1,6}".boxed(),
        _ => (1_u32..=100).prop_map(|n| n.to_string()).boxed(),
    }
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let flags: Vec<&'static Flag> = FLAGS
        .iter()
        .filter(|flag| flag.verbs.contains(&Verb::Run))
        .filter(|flag| ![ABOUT, INERT].contains(&flag.group))
        // It contradicts another.
        .filter(|flag| flag.id != FlagId::NoArchive)
        .collect();
    let count = flags.len();
    prop::sample::subsequence(flags, 0..=count).prop_shuffle().prop_flat_map(|flags| {
        let choice = |flag: &'static Flag| {
            (value(flag), 0..24_usize).prop_map(move |(value, way)| Choice { flag, value, way })
        };
        flags.into_iter().map(choice).collect::<Vec<_>>()
    })
}

fn gnu(choice: &Choice) -> Vec<String> {
    let name = Style::Gnu.write(choice.flag.name);
    match (choice.flag.kind, choice.way % 2) {
        (Kind::Switch, _) => vec![name],
        (_, 0) => vec![name, choice.value.clone()],
        _ => vec![format!("{name}={}", choice.value)],
    }
}

fn powershell(choice: &Choice) -> Vec<String> {
    let name = match choice.way / 6 {
        0 => choice.flag.name.to_lowercase(),
        1 => choice.flag.name.to_uppercase(),
        _ => choice.flag.name.to_owned(),
    };
    let dash = ["-", "–", "—", "―"][choice.way % 4];
    let value = match choice.flag.kind {
        Kind::Switch => "$TRUE".to_owned(),
        _ => choice.value.clone(),
    };
    match (choice.flag.kind, choice.way % 3) {
        (Kind::Switch, 0) => vec![format!("{dash}{name}")],
        (_, 0) => vec![format!("{dash}{name}"), value],
        (_, 1) => vec![format!("{dash}{name}:{value}")],
        _ => vec![format!("{dash}{name}:"), value],
    }
}

proptest! {
    #[test]
    fn both_styles_mean_the_same(choices in choices()) {
        let fixture = Fixture::new();
        fixture.write("empty", b"");
        let in_gnu = fixture.words(choices.iter().flat_map(gnu));
        prop_assert!(in_gnu.is_ok(), "{:?}", in_gnu);
        prop_assert_eq!(in_gnu, fixture.words(choices.iter().flat_map(powershell)));
    }

    #[test]
    fn any_line_is_read_or_refused_in_one_line(
        words in prop::collection::vec("(--?|–)?([a-zA-Z-]{0,8}|\\PC{0,6})([:=]\\PC{0,6})?", 0..5)
    ) {
        if let Err(error) = Fixture::new().words(words) {
            prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
        }
    }
}
