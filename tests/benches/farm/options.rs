//! What is to be measured.

/// The parts of the benchmark, in the order in which they are measured.
const PARTS: [&str; 11] = [
    "atoms",
    "warm",
    "sleeping",
    "single",
    "many",
    "prompt",
    "follow",
    "growth",
    "slow-link",
    "memory",
    "levels",
];

/// Those that are measured if none are named: the others take long, or a network of their own.
const USUAL: [&str; 6] = ["atoms", "sleeping", "single", "many", "prompt", "follow"];

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    /// How many atoms the builds of trivial atoms have.
    pub(crate) sizes: Vec<u32>,
    /// How often each of them runs.
    pub(crate) rounds: u32,
    parts: Vec<String>,
    /// Other programs: name, and shell command with `{atoms}` in it.
    pub(crate) peers: Vec<(String, String)>,
    /// Whether this process is the one in a network of its own.
    pub(crate) in_own_network: bool,
    /// The image of containers, if they are measured.
    pub(crate) image: Option<String>,
    /// A file with further settings of the slave.
    pub(crate) slave_settings: Option<String>,
}

impl Options {
    /// From the arguments of the process.
    pub(crate) fn read() -> Self {
        let mut options = Self {
            sizes: Vec::new(),
            rounds: 1,
            parts: Vec::new(),
            peers: Vec::new(),
            in_own_network: false,
            image: None,
            slave_settings: None,
        };
        let mut arguments = std::env::args().skip(1);
        let next = |arguments: &mut std::iter::Skip<std::env::Args>, what: &str| {
            let value = arguments.next();
            value.unwrap_or_else(|| panic!("{what} is missing"))
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // What `cargo bench` itself says.
                "--bench" => {}
                "--rounds" => {
                    let rounds = next(&mut arguments, "the number of rounds");
                    options.rounds = rounds.parse().expect("a number of rounds");
                }
                "--only" => {
                    let parts = next(&mut arguments, "what to measure");
                    options.parts = parts.split(',').map(str::to_owned).collect();
                }
                "--peers" => options.peers.extend(crate::floor::installed_peers()),
                "--peer" => {
                    let peer = next(&mut arguments, "NAME=COMMAND");
                    let (name, command) = peer.split_once('=').expect("NAME=COMMAND");
                    options.peers.push((name.to_owned(), command.to_owned()));
                }
                "--image" => options.image = Some(next(&mut arguments, "an image")),
                "--slave-settings" => {
                    options.slave_settings = Some(next(&mut arguments, "a file of settings"));
                }
                "--in-own-network" => options.in_own_network = true,
                number => options
                    .sizes
                    .push(number.parse().expect("a number of atoms")),
            }
        }
        for part in &options.parts {
            let known = PARTS.join(", ");
            assert!(
                PARTS.contains(&part.as_str()),
                "'{part}' is none of {known}"
            );
        }
        if options.sizes.is_empty() {
            options.sizes = vec![1000, 10_000, 50_000];
        }
        options
    }

    /// Whether nothing but this part is to be measured.
    pub(crate) fn wants_only(&self, part: &str) -> bool {
        self.parts == [part]
    }

    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: &str) -> bool {
        match self.parts.as_slice() {
            [] => USUAL.contains(&part),
            parts => parts.iter().any(|wanted| wanted == part),
        }
    }
}
