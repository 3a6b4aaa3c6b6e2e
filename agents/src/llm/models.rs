//! Which model does what.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use callboard_broker::code;
use callboard_broker::problem::{Problem, Problems};

use super::{
    Cache, Cached, Chain, EXTRACTIVE, Model, ModelConfig, ModelError, ModelName, Prices, Sampling, Secret,
    ToolsBySchema,
};

/// The largest prompt and the largest key that are read from a file.
const MAX_FILE: u64 = 64 << 10;

/// The models of a node, by role. A role is a capability or, below it, a kind of work: who asks for `executive.plan` gets
/// the model of that, else that of `executive`, else the default. The default of all is none: the extractive engine.
#[derive(Clone, Default)]
pub struct Models {
    /// The first, and those that stand in for it; empty: the extractive engine.
    default: Vec<Arc<dyn Model>>,
    roles: BTreeMap<String, Vec<Arc<dyn Model>>>,
    /// What a task may name beside them.
    allowed: Vec<Arc<dyn Model>>,
    /// Those that others stand in for, as they are for a task that names one: then nothing does.
    alone: Vec<Arc<dyn Model>>,
    prices: Prices,
    sampling: Sampling,
    prompts: BTreeMap<String, String>,
    cache: Option<Arc<Cache>>,
}

impl Models {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// This model for every role that has none of its own.
    #[must_use]
    pub fn by_default(mut self, model: Arc<dyn Model>) -> Self {
        self.default = vec![model];
        self
    }

    /// This model for a role.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>, model: Arc<dyn Model>) -> Self {
        self.roles.insert(role.into(), vec![model]);
        self
    }

    /// This model for tasks that name it, and for nothing else.
    #[must_use]
    pub fn allow(mut self, model: Arc<dyn Model>) -> Self {
        self.allowed.push(model);
        self
    }

    /// At these prices.
    #[must_use]
    pub fn prices(mut self, prices: Prices) -> Self {
        self.prices = prices;
        self
    }

    /// Each of them with something round it that is a model too, such as a limit. `around` also gets whether another
    /// stands in for it.
    #[must_use]
    pub fn over(mut self, around: impl Fn(Arc<dyn Model>, bool) -> Arc<dyn Model>) -> Self {
        if self.alone.is_empty() {
            let firsts = std::iter::once(&self.default).chain(self.roles.values()).filter_map(|all| all.split_last());
            self.alone = firsts.flat_map(|(_, firsts)| firsts).cloned().collect();
        }
        for models in std::iter::once(&mut self.default).chain(self.roles.values_mut()) {
            let last = models.len().saturating_sub(1);
            models.iter_mut().enumerate().for_each(|(n, model)| *model = around(model.clone(), n < last));
        }
        self.allowed.iter_mut().chain(&mut self.alone).for_each(|model| *model = around(model.clone(), false));
        self
    }

    /// Each of them with its answers in this cache. Prices come first, because it counts what it saves.
    #[must_use]
    pub fn cached(mut self, cache: Arc<Cache>) -> Self {
        self.cache = Some(cache.clone());
        let prices = Arc::new(self.prices.clone());
        self.over(move |model, _| Arc::new(Cached::new(model, cache.clone(), prices.clone())))
    }

    /// The cache of their answers.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// With another text in the place of the prompt of this name.
    #[must_use]
    pub fn prompt(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.prompts.insert(name.into(), text.into());
        self
    }

    /// The models that are configured, with keys from files and from `variables`, the environment. Nothing is connected to
    /// yet.
    ///
    /// # Errors
    /// Every provider that nobody knows and every file that cannot be read; all of it in a build without providers.
    pub fn open(config: &ModelConfig, variables: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut opened: BTreeMap<&ModelName, Arc<dyn Model>> = BTreeMap::new();
        for name in config.names() {
            match open(config, name, &variables) {
                Ok(model) => drop(opened.insert(name, model)),
                Err(problem) => problems.push(problem),
            }
        }
        let all = |names: &[ModelName]| names.iter().filter_map(|name| opened.get(name).cloned()).collect();
        let roles = config.roles.iter().map(|(role, of)| (role.clone(), all(of)));
        let mut models = Self {
            default: all(&config.default),
            allowed: all(&config.allow),
            alone: Vec::new(),
            roles: roles.collect(),
            prices: Prices(config.prices.clone()),
            sampling: config.sampling,
            prompts: BTreeMap::new(),
            cache: None,
        };
        match config.prompts.as_deref().map_or_else(|| Ok(BTreeMap::new()), prompts) {
            Ok(prompts) => models.prompts = prompts,
            Err(problem) => problems.push(problem),
        }
        problems.or(models)
    }

    /// The model of a role; none: the extractive engine.
    pub fn of(&self, role: &str) -> Option<Arc<dyn Model>> {
        chain(self.configured(role).unwrap_or(&self.default))
    }

    /// The model of a role for a task that names this one. A role that is configured to have none has none.
    ///
    /// # Errors
    /// In words, when this node has no such model, or that is no name of one.
    pub fn named(&self, role: &str, name: &str) -> Result<Option<Arc<dyn Model>>, ModelError> {
        if name == EXTRACTIVE || self.configured(role).is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let mut all = self.alone.iter().chain(&self.default).chain(self.roles.values().flatten()).chain(&self.allowed);
        let found = all.find(|model| model.name().to_string() == name);
        found.cloned().map(Some).ok_or_else(|| ModelError::not_allowed(name))
    }

    /// What is configured for a role, or for what it is part of.
    fn configured(&self, role: &str) -> Option<&Vec<Arc<dyn Model>>> {
        let parts = std::iter::successors(Some(role), |part| part.rsplit_once('.').map(|(outer, _)| outer));
        parts.into_iter().find_map(|part| self.roles.get(part))
    }

    /// What tokens cost.
    pub fn price_list(&self) -> &Prices {
        &self.prices
    }

    /// How answers are chosen.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// A prompt that stands in the place of ours.
    pub fn prompt_of(&self, name: &str) -> Option<&str> {
        self.prompts.get(name).map(String::as_str)
    }

    /// The models by default and by role, for people to see.
    pub fn names(&self) -> Vec<(String, String)> {
        let name = |models: &Vec<Arc<dyn Model>>| {
            models.first().map_or_else(|| ModelName::default().to_string(), |model| model.name().to_string())
        };
        let roles = self.roles.iter().map(|(role, model)| (role.clone(), name(model)));
        [("default".to_owned(), name(&self.default))].into_iter().chain(roles).collect()
    }
}

/// Several as one; none is none.
fn chain(models: &[Arc<dyn Model>]) -> Option<Arc<dyn Model>> {
    match models {
        [] => None,
        [one] => Some(one.clone()),
        [first, others @ ..] => Some(Arc::new(Chain::new(first.clone(), others.to_vec()))),
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names()).finish()
    }
}

/// The models of providers that nobody knows how to speak to, each with why; none in a build without providers, which
/// knows none.
pub fn unknown_providers(config: &ModelConfig) -> Vec<(ModelName, String)> {
    #[cfg(feature = "genai")]
    let why = |name: &ModelName| super::provider::key_variable(&config.provider(name), name).err();
    #[cfg(not(feature = "genai"))]
    let why = |_: &ModelName| None;
    config.names().into_iter().filter_map(|name| Some((name.clone(), why(name)?))).collect()
}

#[cfg(feature = "genai")]
fn open(
    config: &ModelConfig,
    name: &ModelName,
    variables: &impl Fn(&str) -> Option<String>,
) -> Result<Arc<dyn Model>, Problem> {
    use super::provider::{Remote, key_variable};
    /// How long a model may be silent, unless it is configured: 60 s.
    const SILENCE: std::time::Duration = std::time::Duration::from_secs(60);
    let provider = config.provider(name);
    let wrong = |why: String| Problem::new(code::NOT_ALLOWED, format!("the model {name}: {why}"));
    let key = match &provider.key_file {
        Some(file) => Secret::new(text(file)?),
        None => {
            let variable = key_variable(&provider, name).map_err(wrong)?;
            let key = variable.and_then(variables).map(Secret::new);
            match (key, variable) {
                (Some(key), _) => key,
                // A server of one's own wants none.
                (None, None) => Secret::new(""),
                (None, Some(_)) if provider.url.is_some() => Secret::new(""),
                (None, Some(variable)) => {
                    let problem = Problem::new(code::MODEL_KEY, format!("the model {name} needs the key {variable}"));
                    return Err(problem.fix(format!("export {variable}=...")));
                }
            }
        }
    };
    let remote = Remote::new(name, &provider, key, config.silence.unwrap_or(SILENCE)).map_err(wrong)?;
    Ok(Arc::new(ToolsBySchema::new(Arc::new(remote))))
}

#[cfg(not(feature = "genai"))]
fn open(_: &ModelConfig, name: &ModelName, _: &impl Fn(&str) -> Option<String>) -> Result<Arc<dyn Model>, Problem> {
    // What a build with providers needs, so that both build what is around it.
    let _: (fn(&str) -> Secret, fn(Arc<dyn Model>) -> ToolsBySchema) = (|text| Secret::new(text), ToolsBySchema::new);
    let problem = Problem::new(code::UNSUPPORTED, format!("the model {name}: this build knows no providers"));
    Err(problem.fix("build with the feature `genai`"))
}

/// The prompts of a folder, by name.
fn prompts(folder: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let failed =
        |why: std::io::Error| Problem::new(code::FILE, format!("{} cannot be read: {}", folder.display(), why.kind()));
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "md")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            found.insert(name.to_owned(), text(&path)?);
        }
    }
    Ok(found)
}

/// A small text file.
fn text(path: &Path) -> Result<String, Problem> {
    let failed = |why: String| Problem::new(code::FILE, format!("{} cannot be read: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|why| failed(why.kind().to_string()))?;
    if !about.is_file() || about.len() > MAX_FILE {
        return Err(failed("it is no file of at most 64 KiB".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|why| failed(why.kind().to_string()))
}
