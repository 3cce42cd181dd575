//! Which recorded exchanges differ on purpose, which can not be replayed, and why.

use super::replay::{Exception, NotAlone};

const PREPARING: &str = "build.state_timestamps.preparing";

pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        fixtures: &[28],
        differs: &["status=200"],
        because: "HEAD works",
    },
    Exception {
        fixtures: &[118],
        differs: &["accept-ranges", "status=200"],
        because: "HEAD works for archives too",
    },
    Exception {
        fixtures: &[98, 116, 222],
        differs: &["accept-ranges"],
        because: "the zip is made while it is sent, so there are no parts of it",
    },
    Exception {
        fixtures: &[117],
        differs: &["accept-ranges", "status=200"],
        because: "the zip is made while it is sent, so all of it comes",
    },
    Exception {
        fixtures: &[
            51, 196, 200, 201, 202, 203, 204, 205, 206, 208, 209, 210, 211, 212, 213, 214, 215,
            216, 217, 218, 219, 220, 227,
        ],
        differs: &[PREPARING],
        because: "the time at which preparing began is there from then on, not only at its end",
    },
    Exception {
        fixtures: &[198, 199],
        differs: &["build.result", PREPARING],
        because: "both of the above and below",
    },
    Exception {
        fixtures: &[188, 232],
        differs: &["build.result"],
        because: "nobody knows whether the atoms of a canceled build would have passed",
    },
    Exception {
        fixtures: &[191, 225],
        differs: &["body", "status=404"],
        because: "a build that ended without results says that it has no archive, and why",
    },
    Exception {
        fixtures: &[207],
        differs: &[
            "build.request_params.config",
            "build.request_params.job_name",
            "build.request_params.project_directory",
            PREPARING,
        ],
        because: "a config that is no object is refused at once with 400, so another build has the id",
    },
    Exception {
        fixtures: &[66],
        differs: &["+atoms", "error", "status=200"],
        because: "the version 1 list of atoms works",
    },
    Exception {
        fixtures: &[71, 72],
        differs: &["body", "location", "status=502"],
        because: "the console of a running atom is passed through, not redirected to the slave (502 \
                  here, where no slave listens)",
    },
    Exception {
        fixtures: &[86],
        differs: &["atom.actual_time"],
        because: "the time of an atom is known with its result, not only with the archive",
    },
    Exception {
        fixtures: &[90],
        differs: &["status=400"],
        because: "an offset that is too high is the caller's mistake",
    },
    Exception {
        fixtures: &[93],
        differs: &["error", "status=400"],
        because: "a number that is none is the caller's mistake, and is named",
    },
    Exception {
        fixtures: &[107],
        differs: &["error"],
        because: "the parameter that is no number is named",
    },
    Exception {
        fixtures: &[113, 114],
        differs: &["error", "status=404"],
        because: "an unknown atom is not found, not an internal error",
    },
    Exception {
        fixtures: &[133, 142, 143, 156, 157, 163, 164, 170, 171, 172, 174, 175],
        differs: &["error", "status=401"],
        because: "a request that changes something is first of all asked for its signature, which \
                  from slaves is one over the whole request",
    },
    Exception {
        fixtures: &[159, 173],
        differs: &["error"],
        because: "the words say what kind of signature is missing",
    },
    Exception {
        fixtures: &[134, 135, 137, 138],
        differs: &["error"],
        because: "the words say what would be right",
    },
    Exception {
        fixtures: &[136, 139, 144],
        differs: &["+status", "error", "status=400"],
        because: "a malformed request is refused with 400 and stores nothing",
    },
    Exception {
        fixtures: &[150],
        differs: &["body"],
        because: "an archive of an unknown build is refused with a reason in JSON",
    },
    Exception {
        fixtures: &[152],
        differs: &["error"],
        because: "the words name the id",
    },
    Exception {
        fixtures: &[161, 162],
        differs: &["api-version", "content-type"],
        because: "unknown routes are told in JSON",
    },
    Exception {
        fixtures: &[167],
        differs: &["+error"],
        because: "a change without a change is told what is missing",
    },
    Exception {
        fixtures: &[221],
        differs: &["+build.lacks_atoms", "build.details"],
        because: "a build without atoms says so",
    },
    Exception {
        fixtures: &[233],
        differs: &["subjobs.atoms.state"],
        because: "what a canceled build ran is stopped and so not in progress any more",
    },
    Exception {
        fixtures: &[224],
        differs: &["queue"],
        because: "builds that failed are over and leave the queue",
    },
];

pub(super) const NOT_ALONE: &[NotAlone] = &[
    NotAlone {
        fixtures: &[12, 21, 22, 23, 24, 119, 120, 256],
        because: "metrics and events depend on all that happened before",
    },
    NotAlone {
        fixtures: &[
            1, 2, 54, 85, 96, 128, 158, 160, 228, 234, 239, 242, 244, 245,
        ],
        because: "what a slave says, which is signed here as a whole request and carries a session",
    },
    NotAlone {
        fixtures: &[126, 127],
        because: "several atoms in one subjob, grouped by the times of an earlier build",
    },
    NotAlone {
        fixtures: &[145, 146, 147],
        because: "the build that the original stores for a request that it refuses",
    },
    NotAlone {
        fixtures: &[237, 252, 253, 254, 255],
        because: "slaves that are told to shut down",
    },
    NotAlone {
        fixtures: &[230, 236, 248, 249, 250, 258],
        because: "the original gives such builds up, or counts killed atoms as failed; here the work \
                  goes back to the queue",
    },
    NotAlone {
        fixtures: &[259],
        because: "a whole run of the command line client",
    },
];

/// With `accept_legacy_peers`.
pub(super) const LEGACY_EXCEPTIONS: &[Exception] = &[
    Exception {
        fixtures: &[54],
        differs: &["slave.num_executors_in_use"],
        because: "subjobs are given out at once, not one after the other behind the answer",
    },
    Exception {
        fixtures: &[158, 160],
        differs: &["error"],
        because: "the words say what would be right",
    },
    Exception {
        fixtures: &[170, 171, 172, 175],
        differs: &["error", "status=400"],
        because: "what is malformed is refused with 400 and a word about the form",
    },
];

/// All others that are replayed so.
pub(super) const LEGACY_REPRODUCED: &[u16] = &[
    1, 2, 17, 19, 50, 57, 79, 96, 100, 156, 157, 159, 173, 174, 242, 243, 244, 245, 246,
];
