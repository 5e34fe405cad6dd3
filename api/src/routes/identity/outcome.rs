//! What the database answers when a person has not, or not yet, shown who they are: results there, so that each attempt is
//! recorded; problems here, each with a type of its own.

use tokio_postgres::Row;

use crate::problem::{self, Problem};

/// The problem that an outcome other than success stands for. `refused` is what is said of everything that was wrong: which
/// part it was is told to nobody. The other outcomes are given only to someone who has shown the password.
pub(super) fn unmet(row: &Row, refused: Problem) -> Result<Problem, Problem> {
    Ok(match row.try_get::<_, &str>("outcome")? {
        "limited" => limited(row),
        "second_factor" => Problem::new(
            problem::SECOND_FACTOR,
            "A second factor is enrolled; send the whole request again with a code of it as `second_factor`.",
        ),
        "enrolment_required" => Problem::new(
            problem::ENROLMENT,
            "The organisation requires a second factor; POST /v1/login/second-factor enrols one.",
        ),
        "acceptance_required" => Problem::new(
            problem::ACCEPTANCE,
            "The organisation has agreements that were not accepted; read them and POST /v1/login/agreements.",
        )
        .agreements(row.try_get("detail")?),
        "password_expired" => Problem::new(
            problem::PASSWORD_EXPIRED,
            "The password is older than the organisation allows; POST /v1/login/password changes it.",
        ),
        "organisation_required" => Problem::new(
            problem::ORGANISATION,
            "The account belongs to several organisations; name one as `org_id`.",
        ),
        _ => refused,
    })
}

/// What is said of a wrong user name, password or code at signing in, and of an account that is locked or deactivated.
pub(super) fn sign_in_refused() -> Problem {
    Problem::new(
        problem::NOT_AUTHENTICATED,
        "User name, password or code is wrong, or the account may not sign in.",
    )
}

/// What is said of a wrong password or code of someone who is signed in: the session itself holds, so that it is no 401.
pub(super) fn proof_refused() -> Problem {
    Problem::new(
        problem::PROOF_REFUSED,
        "The password or code is wrong, or the account is locked.",
    )
}

fn limited(row: &Row) -> Problem {
    let wait: Option<i32> = row.try_get("wait_seconds").unwrap_or_default();
    let seconds = wait.and_then(|wait| u64::try_from(wait).ok()).unwrap_or(1);
    Problem::new(problem::RATE_LIMITED, "Too many attempts; wait.").retry_after(seconds)
}
