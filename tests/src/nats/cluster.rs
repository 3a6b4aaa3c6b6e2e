//! Three servers that keep one another's streams.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Config, Port, Refused, Server, Wire};

/// The longest that three servers may take to agree on a leader.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest that one question may take: without a leader there is no answer at all.
const QUESTION: Duration = Duration::from_secs(1);

/// Three servers in one cluster: streams with three replicas can be made.
pub struct Cluster {
    servers: [Server; 3],
    // Held, so that a server that is restarted finds its own route free.
    _routes: [Port; 3],
}

impl Cluster {
    /// Starts three without further configuration.
    ///
    /// # Panics
    /// When one does not start, or they do not come together within a minute.
    pub fn start() -> Self {
        Self::with(|_| Config::default())
    }

    /// Starts three, each with the configuration for its number (0 to 2). The cluster's name, routes and the servers'
    /// names are ours.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub fn with(config: impl Fn(usize) -> Config) -> Self {
        Self::with_probe(config, probe)
    }

    /// The same where it takes more than a plain connection to find out that a stream with three replicas can be made:
    /// `probe` makes one and removes it, and is asked again until that succeeds.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub fn with_probe(config: impl Fn(usize) -> Config, probe: impl FnMut(&Server) -> Result<(), String>) -> Self {
        let routes = [Port::reserve(), Port::reserve(), Port::reserve()];
        let all = routes.each_ref().map(|route| format!("nats://127.0.0.1:{}", route.number())).join(",");
        let member = |number: usize| {
            let here = format!("nats://127.0.0.1:{}", routes[number].number());
            let named = ["--name", &format!("cb-{number}"), "--cluster_name", "callboard", "--cluster", &here];
            let arguments = named.into_iter().chain(["--routes", &all]);
            Server::with(arguments.fold(config(number), |config, argument| config.argument(argument)))
        };
        let cluster = Self { servers: [member(0), member(1), member(2)], _routes: routes };
        cluster.wait_for(probe);
        cluster
    }

    /// One of them, 0 to 2.
    pub fn server(&self, number: usize) -> &Server {
        &self.servers[number]
    }

    /// All of them.
    pub fn servers(&self) -> &[Server; 3] {
        &self.servers
    }

    /// All addresses, as a client takes them: separated by commas.
    pub fn url(&self) -> String {
        self.servers.each_ref().map(Server::url).join(",")
    }

    /// Waits until a stream with three replicas can be made on each, which is so when the servers know one another, have
    /// a leader, and it has heard of all. For a cluster without credentials, after a restart.
    ///
    /// # Panics
    /// When that is not so after a minute.
    pub fn wait_until_ready(&self) {
        self.wait_for(probe);
    }

    fn wait_for(&self, mut probe: impl FnMut(&Server) -> Result<(), String>) {
        let until = Instant::now() + PATIENCE;
        let mut said = String::new();
        while Instant::now() < until {
            match self.servers.iter().try_for_each(&mut probe) {
                Ok(()) => return,
                Err(why) => said = why,
            }
            // Not for the time that it takes, but to leave the processor to those who are waited for.
            std::thread::park_timeout(Duration::from_millis(50));
        }
        panic!("the cluster did not come together: {said}");
    }
}

fn probe(server: &Server) -> Result<(), String> {
    let text = |refused: Refused| format!("{refused:?}");
    let mut wire = Wire::connect(&server.url()).map_err(|why| why.to_string())?;
    wire.set_patience(QUESTION).map_err(|why| why.to_string())?;
    let stream = json!({"name": "CB_PROBE", "subjects": ["cb.probe"], "num_replicas": 3, "storage": "memory"});
    let made = wire.ask("$JS.API.STREAM.CREATE.CB_PROBE", &stream).map_err(text)?;
    if made["error"].is_object() {
        return Err(made["error"].to_string());
    }
    wire.ask("$JS.API.STREAM.DELETE.CB_PROBE", &json!(null)).map_err(text)?;
    Ok(())
}
