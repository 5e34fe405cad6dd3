//! Why a witness does not cosign, and what it answers.

use super::request::RequestError;
use crate::checkpoint::CheckpointError;
use crate::merkle::ProofError;
use crate::note::NoteError;

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be read: 400.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// The old size is beyond the checkpoint: 400.
    #[error("the old size {old} is larger than the checkpoint's {size}")]
    OldSize {
        /// What the request says.
        old: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// No trusted key has signed, or nobody has, or a signature of a trusted key does not hold: 403.
    #[error(transparent)]
    Signature(NoteError),
    /// A log that this witness does not follow: 404.
    #[error("this witness does not follow the log")]
    UnknownOrigin,
    /// The request proves from another size than the one held: 409, with that size as the answer.
    #[error("the size that was cosigned last is {held}")]
    Conflict {
        /// The size that was cosigned last.
        held: u64,
    },
    /// The root of an empty tree is not that of the empty tree: 422.
    #[error("the root of an empty tree must be the hash of nothing")]
    EmptyTree,
    /// A proof from the empty tree: 422.
    #[error("nothing was cosigned yet, so the proof must be empty")]
    NoProofNeeded,
    /// The proof does not show that the tree held is the beginning of this one: 422.
    #[error("the consistency proof does not hold: {0}")]
    Proof(ProofError),
    /// Two trees of one size under one origin, both signed by the log: 422.
    #[error("the log has signed two different trees of size {size}")]
    Fork {
        /// The size.
        size: u64,
    },
    /// A smaller tree under the same origin: 422.
    #[error("the log offers a tree of size {offered}, after one of size {held} was cosigned")]
    Rollback {
        /// The size that was cosigned.
        held: u64,
        /// The size offered now.
        offered: u64,
        /// Whether it was sealed later than what is held: then it is no belated answer.
        later: bool,
    },
    /// A tree that is not smaller, and that the log says it sealed before the one held: 422.
    #[error(
        "the log says that it sealed the tree of size {offered} before that of size {held}, which was cosigned"
    )]
    Backdated {
        /// The size that was cosigned.
        held: u64,
        /// The size offered now.
        offered: u64,
    },
    /// An incarnation that does not come after the one held: 422.
    #[error("{offered} does not come after {held}, which was cosigned")]
    Incarnation {
        /// The origin held.
        held: String,
        /// The origin offered.
        offered: String,
    },
    /// A new incarnation that begins before the size held: 422, until a person accepts it.
    #[error(
        "a new incarnation of the log begins at size {begun}, after size {held} was cosigned: leaves are missing"
    )]
    SetBack {
        /// The size that was cosigned.
        held: u64,
        /// The size at which the incarnation begins.
        begun: u64,
    },
    /// A person cannot accept this: 422.
    #[error("under one origin a witness vouches for one history: the log must begin a new incarnation first")]
    SameOrigin,
}

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) | Refusal::OldSize { .. } => 400,
            Refusal::Signature(_) => 403,
            Refusal::UnknownOrigin => 404,
            Refusal::Conflict { .. } => 409,
            _ => 422,
        }
    }

    /// Whether two notes signed by the log, the one held and the one offered, prove that the log has denied what it signed. What a
    /// stranger can bring about with a genuine checkpoint, such as a wrong proof or one of an earlier incarnation, does not count.
    pub fn convicts(&self) -> bool {
        matches!(
            self,
            Refusal::Fork { .. }
                | Refusal::Rollback { later: true, .. }
                | Refusal::Backdated { .. }
                | Refusal::SetBack { .. }
        )
    }

    /// Whether nothing shows that the log has anything to do with it: another log's checkpoint, one that no known key has signed, or none at
    /// all, as a proxy brings about that mixes up two servers.
    pub fn is_stray(&self) -> bool {
        matches!(
            self,
            Refusal::Malformed(_) | Refusal::EmptyTree | Refusal::UnknownOrigin | Refusal::Signature(_)
        )
    }

    /// The name of the refusal, for files and machines.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::OldSize { .. } => "old_size",
            Refusal::Signature(_) => "signature",
            Refusal::UnknownOrigin => "unknown_origin",
            Refusal::Conflict { .. } => "conflict",
            Refusal::EmptyTree => "empty_tree",
            Refusal::NoProofNeeded => "no_proof_needed",
            Refusal::Proof(_) => "bad_proof",
            Refusal::Fork { .. } => "fork",
            Refusal::Rollback { .. } => "rollback",
            Refusal::Backdated { .. } => "backdated",
            Refusal::Incarnation { .. } => "other_incarnation",
            Refusal::SetBack { .. } => "set_back",
            Refusal::SameOrigin => "same_origin",
        }
    }
}

impl From<CheckpointError> for Refusal {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::EmptyTree => Refusal::EmptyTree,
            other => Refusal::Malformed(RequestError::Checkpoint(other)),
        }
    }
}
