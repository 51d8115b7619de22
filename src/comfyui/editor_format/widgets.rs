//! The values of a node: `widgets_values` has them without names, in the order in which the editor
//! makes the widgets of the class, with some places that are no input.

use serde_json::{Value, json};

use super::{Environment, Input, array, is_one_of, link_of, text};
use crate::comfyui::validate::declared_inputs;
use crate::sanitize::counted;

/// The types of input for which the editor has a widget. Any other is a socket alone.
const WIDGETS: &str = "\
    AUDIOUPLOAD|AUDIO_UI|BOOLEAN|BOUNDING_BOX|BOUNDING_BOXES|CHART|COLOR|COLORS|COMBO|\
    COMFY_DYNAMICCOMBO_V3|COMPOSITOR|CURVE|FLOAT|GALLERIA|IMAGECOMPARE|IMAGEUPLOAD|INT|MARKDOWN|\
    PAINTER|RANGE|STRING|TEXTAREA|VIDEO_EDIT";
/// Those whose value is made in the browser: a rendered scene, a camera, a microphone.
const BROWSER_WIDGETS: &str = "AUDIO_RECORD|LOAD_3D|LOAD_3D_ADVANCED|PREVIEW_3D|WEBCAM";

/// The value of an input that is not linked.
#[derive(Debug)]
pub(super) struct Widget {
    pub(super) name: String,
    pub(super) value: Value,
    /// A text in which `{a|b}` is a choice and `//` begins a comment.
    pub(super) has_dynamic_prompts: bool,
}

/// What the class makes of the values and inputs of a node.
pub(super) struct Reader<'v> {
    environment: Environment<'v>,
    values: Vec<&'v Value>,
    at: usize,
    /// How many values at the end are buttons.
    buttons: usize,
    /// The inputs without a value of their own.
    missing: Vec<String>,
    pub(super) widgets: Vec<Widget>,
    /// Name and type of the inputs that are sockets only, then of those that have a widget as well.
    sockets: Vec<(String, String)>,
    widget_sockets: Vec<(String, String)>,
}

impl<'v> Reader<'v> {
    /// Reads the values of a node by the description of its class.
    pub(super) fn read(
        class: &Value,
        values: &'v Value,
        listed: &[Input],
        environment: Environment<'v>,
    ) -> Self {
        let inputs = in_order(class);
        let mut reader = Reader {
            environment,
            values: without_forced(array(values), &inputs),
            at: 0,
            buttons: 0,
            missing: Vec::new(),
            widgets: Vec::new(),
            sockets: Vec::new(),
            widget_sockets: Vec::new(),
        };
        for (name, config) in inputs {
            reader.input(name, config, listed);
        }
        match text(&class["name"]) {
            "CustomCombo" => reader.options(),
            "Preview3D" | "SaveGLB" => {
                let value = reader.next().cloned().unwrap_or_else(|| "".into());
                reader.push("image", value, false);
            }
            _ => {}
        }
        if let Some(named) = values.as_object() {
            reader.missing.clear();
            for (name, value) in named {
                if name != "videopreview" && !is_linked(name, listed) {
                    reader.set(name, value.clone());
                }
            }
        }
        reader
    }

    /// The inputs as the editor has them: those of the class, then the linked ones that it does not
    /// know, unless these had a widget.
    pub(super) fn inputs(&self, listed: &[Input]) -> Vec<Input> {
        let known = self.sockets.iter().chain(&self.widget_sockets);
        let known = known.map(|(name, kind)| Input {
            name: name.clone(),
            kind: kind.clone(),
            link: link_of(listed, name),
            widget: self.has(name).then(|| name.clone()),
        });
        let mut inputs: Vec<Input> = known.collect();
        for input in listed {
            let is_known = inputs.iter().any(|known| known.name == input.name);
            let is_lost = input.widget.as_deref().is_some_and(|name| !self.has(name));
            if !is_known && input.link.is_some() && !is_lost {
                inputs.push(input.clone());
            }
        }
        inputs
    }

    /// What does not agree between the file and the class, for a line about the node.
    pub(super) fn mismatch(&self) -> Option<String> {
        // Null is the place of a button. Without widgets it is what the node has shown.
        let left = self.values.iter().skip(self.at).filter(|value| !value.is_null()).count();
        if left > self.buttons && self.at > 0 {
            return Some(format!(
                "{} too many: was the file saved with another version of the node?",
                counted(left, "value")
            ));
        }
        if self.missing.is_empty() {
            return None;
        }
        let (count, names) = (counted(self.missing.len(), "value"), self.missing.join(", "));
        Some(format!("{count} missing, the default is taken: {names}"))
    }

    fn has(&self, name: &str) -> bool {
        self.widgets.iter().any(|widget| widget.name == name)
    }

    fn set(&mut self, name: &str, value: Value) {
        match self.widgets.iter_mut().find(|widget| widget.name == name) {
            Some(widget) => widget.value = value,
            None => self.push(name, value, false),
        }
    }

    fn push(&mut self, name: &str, value: Value, has_dynamic_prompts: bool) {
        self.widgets.push(Widget { name: name.to_owned(), value, has_dynamic_prompts });
    }

    fn next(&mut self) -> Option<&'v Value> {
        let value = self.values.get(self.at).copied();
        self.at += 1;
        value
    }

    /// One input of the class, and those that its value brings with it.
    fn input(&mut self, name: &str, config: &Value, listed: &[Input]) {
        let options = &config[1];
        let (kind, widget) = (kind(config), widget(config));
        if options["forceInput"] == true || !is_one_of(WIDGETS, widget) {
            self.socket(name, kind, options, listed);
            return;
        }
        if options["socketless"] != true {
            self.widget_sockets.push((name.to_owned(), kind.to_owned()));
        }
        match widget {
            "AUDIO_UI" => return,
            "AUDIOUPLOAD" | "IMAGEUPLOAD" => {
                self.buttons += 1;
                return;
            }
            "IMAGECOMPARE" => return self.push(name, json!(["", ""]), false),
            _ => {}
        }
        let choices = choices(config);
        let given = self.next();
        let default = || match (options.get("default"), widget) {
            (Some(value), _) => value.clone(),
            (None, "COMFY_DYNAMICCOMBO_V3") => {
                choices.first().map_or(Value::Null, |c| c["key"].clone())
            }
            (None, "COMBO") => choices.first().cloned().unwrap_or_default(),
            (None, "INT" | "FLOAT") => 0.into(),
            (None, "BOOLEAN") => false.into(),
            (None, "COLOR") => "#000000".into(),
            (None, "RANGE") => json!({"min": 0.0, "max": 1.0}),
            (None, "BOUNDING_BOX") => json!({"x": 0, "y": 0, "width": 512, "height": 512}),
            (None, _) => "".into(),
        };
        let value = match given {
            None => default(),
            Some(Value::Null) if widget == "COMBO" => choices.first().cloned().unwrap_or_default(),
            Some(Value::Null) if widget == "STRING" && options["multiline"] == true => "".into(),
            Some(value) if widget == "CURVE" && value.is_array() => {
                json!({"__type__": "CURVE", "__value__": value})
            }
            Some(value) => value.clone(),
        };
        if given.is_none() && !is_linked(name, listed) {
            self.missing.push(name.to_owned());
        }
        let chosen = choices
            .iter()
            .find(|choice| widget == "COMFY_DYNAMICCOMBO_V3" && choice["key"] == value);
        let control = &options["control_after_generate"];
        let is_controlled = *control == true || control.is_string();
        let is_seed = control.is_null() && ["seed", "noise_seed"].contains(&name);
        let is_changed = widget == "INT" && (is_controlled || is_seed);
        let value = match self.values.get(self.at) {
            Some(control) if is_changed => {
                after_generate(&value, control, options, self.environment)
            }
            _ => value,
        };
        // A combo without choices has no value.
        if given.is_some() || !value.is_null() {
            self.push(name, value, options["dynamicPrompts"] == true);
        }
        self.at += match widget {
            "INT" if is_changed => 1,
            "COMBO" if is_controlled => 2,
            "BOUNDING_BOX" => 4,
            _ => 0,
        };
        let is_upload = |(key, on): (&String, &Value)| key.ends_with("_upload") && *on == true;
        let uploads = options.as_object().into_iter().flatten().filter(|o| is_upload(*o)).count();
        self.buttons += uploads;
        for (sub, config) in
            chosen.into_iter().flat_map(|choice| declared_inputs(&choice["inputs"]))
        {
            self.input(&format!("{name}.{sub}"), config, listed);
        }
    }

    /// One input without a widget. One that grows has those that the file lists.
    fn socket(&mut self, name: &str, kind: &str, options: &Value, listed: &[Input]) {
        // Those of a dynamic combo come after the class's own, among its widgets.
        let part = name.contains('.');
        let sockets = if part { &mut self.widget_sockets } else { &mut self.sockets };
        match kind {
            "COMFY_AUTOGROW_V3" => {
                let is_part = |part: &&Input| {
                    part.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
                };
                let parts = listed.iter().filter(is_part);
                sockets.extend(parts.map(|part| (part.name.clone(), part.kind.clone())));
            }
            "COMFY_MATCHTYPE_V3" => {
                let kind = text(&options["template"]["allowed_types"]).to_owned();
                sockets.push((name.to_owned(), kind));
            }
            _ => sockets.push((name.to_owned(), kind.to_owned())),
        }
    }

    /// A `CustomCombo` has a text for each option and an empty one behind them. Its index, the
    /// second value, follows from its choice.
    fn options(&mut self) {
        self.next();
        self.push("index", 0.into(), false);
        for number in 1.. {
            let value = self.next().cloned().unwrap_or_else(|| "".into());
            let is_last = value.as_str().is_none_or(str::is_empty);
            self.push(&format!("option{number}"), value, false);
            if is_last {
                break;
            }
        }
    }
}

/// A whole number as `control_after_generate` has made it once the file was queued so many times.
pub(super) fn after_generate(
    value: &Value,
    control: &Value,
    options: &Value,
    environment: Environment,
) -> Value {
    // The editor's own bounds.
    const MOST: i64 = 1 << 50;
    let least = options["min"].as_i64().unwrap_or(0).clamp(-MOST, MOST);
    let most = options["max"].as_i64().unwrap_or(MOST).clamp(least, MOST);
    let times = i64::from(environment.repetition);
    let step = options["step"].as_i64().unwrap_or(1).max(1);
    let Some(old) = value.as_i64().filter(|_| times > 0) else { return value.clone() };
    let by = |steps: i64| old.saturating_add(step.saturating_mul(steps)).clamp(least, most).into();
    match control.as_str() {
        Some("increment") => by(times),
        Some("decrement") => by(-times),
        Some("randomize") => {
            let steps = most.abs_diff(least) / step.unsigned_abs();
            let steps = (environment.random)() % steps.max(1);
            least.saturating_add_unsigned(steps.saturating_mul(step.unsigned_abs())).into()
        }
        _ => value.clone(),
    }
}

fn is_linked(name: &str, listed: &[Input]) -> bool {
    listed.iter().any(|input| input.name == name && input.link.is_some())
}

/// The place of its choice among the options of a `CustomCombo`, -1 without one.
pub(super) fn index_of_choice(widgets: &[Widget], choice: &Value) -> Value {
    let mut options = widgets.iter().filter(|widget| widget.name.starts_with("option"));
    options.position(|option| option.value == *choice).map_or(Value::from(-1), Value::from)
}

/// The inputs of a class in their order, with their descriptions.
fn in_order(class: &Value) -> Vec<(&str, &Value)> {
    let (order, input) = (&class["input_order"], &class["input"]);
    let groups = ["required", "optional"];
    let ordered = groups.into_iter().flat_map(|group| {
        let names = array(&order[group]).iter().filter_map(Value::as_str);
        names.filter_map(move |name| Some((name, input[group].get(name)?)))
    });
    let mut inputs: Vec<(&str, &Value)> = ordered.collect();
    for (name, config) in declared_inputs(input) {
        if !inputs.iter().any(|(known, _)| *known == name) {
            inputs.push((name, config));
        }
    }
    inputs
}

/// Whether an input of a class has its value from the browser.
pub(super) fn is_made_in_browser(class: &Value) -> bool {
    declared_inputs(&class["input"]).any(|(_, config)| is_one_of(BROWSER_WIDGETS, widget(config)))
}

/// The type of an input; a list of choices is a `COMBO`.
fn kind(config: &Value) -> &str {
    if config[0].is_array() { "COMBO" } else { text(&config[0]) }
}

/// The type that decides on the widget.
fn widget(config: &Value) -> &str {
    config[1]["widgetType"].as_str().unwrap_or_else(|| kind(config))
}

fn choices(config: &Value) -> &[Value] {
    if config[0].is_array() { array(&config[0]) } else { array(&config[1]["options"]) }
}

/// The values without those of inputs that are never widgets: files of before 1.16 have a place for
/// them, which shows in the number of values alone.
fn without_forced<'v>(values: &'v [Value], inputs: &[(&str, &Value)]) -> Vec<&'v Value> {
    let mut is_forced = Vec::new();
    for (_, config) in inputs {
        let options = &config[1];
        let forced = options["forceInput"] == true;
        if forced || is_one_of(WIDGETS, widget(config)) {
            is_forced.push(forced);
            let control = &options["control_after_generate"];
            if *control == true || control.is_string() {
                is_forced.push(false);
            }
        }
    }
    let is_old = is_forced.len() == values.len();
    let is_kept = |at: usize| !(is_old && is_forced[at]);
    values.iter().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, value)| value).collect()
}
