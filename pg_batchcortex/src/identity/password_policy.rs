//! Which passwords are acceptable. The default follows NIST SP 800-63B §5.1.1.2: length, a list of what is guessed first,
//! no rules of composition, no ageing. Organisations whose procedures demand ageing and history turn them on.

use super::password;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// Names shorter than this are not looked for: "QA" is in too many good passphrases.
const SHORTEST_NAME: usize = 4;
/// zxcvbn's third of four classes: guessed in 10^8 tries or more. Argon2id and the lockout stand before it.
const LEAST_SCORE: u8 = 3;

/// What the organisations of a person demand of a password, the strictest of each.
#[derive(Default)]
pub struct Policy {
    /// Words a password must not contain: the names of the organisations.
    pub names: Vec<String>,
    /// How many earlier passwords may not come back.
    pub history: i32,
    /// Whether the password has reached the age at which it must be replaced.
    pub expired: bool,
}

/// The policy that holds for a person now.
pub fn of(user_id: Uuid) -> Policy {
    Spi::connect(|client| {
        let rows = client
            .select(
                "select array_agg(o.name),
                        coalesce(max(o.password_history) filter (where o.password_profile = 'ageing'), 0),
                        coalesce(bool_or(u.password_changed_at < clock_timestamp() - make_interval(days => o.password_days))
                                 filter (where o.password_profile = 'ageing'), false)
                   from batchcortex.user_account u
                   join batchcortex.membership m on m.user_id = u.user_id and m.ended_at is null
                   join batchcortex.organisation o on o.org_id = m.org_id
                  where u.user_id = $1",
                Some(1),
                &[user_id.into()],
            )
            .unwrap_or_report();
        let row = rows.first();
        Policy {
            names: row.get(1).unwrap_or_report().unwrap_or_default(),
            history: row.get(2).unwrap_or_report().unwrap_or(0),
            expired: row.get(3).unwrap_or_report().unwrap_or(false),
        }
    })
}

/// Whether a password may be chosen by someone with these names; else what is wrong with it, in words for that person.
pub fn acceptable(password: &str, names: &[&str]) -> Result<(), String> {
    if password.chars().count() < password::SHORTEST || password.len() > password::LONGEST {
        return Err(format!(
            "a password has {} characters at least and {} bytes at most",
            password::SHORTEST,
            password::LONGEST
        ));
    }
    let lower = password.to_lowercase();
    let contained = |name: &&&str| {
        let name = name.trim().to_lowercase();
        name.chars().count() >= SHORTEST_NAME && lower.contains(&name)
    };
    if names.iter().any(|name| contained(&name)) {
        return Err("a password contains neither the names of its owner nor that of the organisation".into());
    }
    let estimate = zxcvbn::zxcvbn(password, names);
    if u8::from(estimate.score()) < LEAST_SCORE {
        let why = estimate
            .feedback()
            .and_then(|feedback| feedback.warning())
            .map_or_else(
                || "It is short of surprise.".to_owned(),
                |warning| warning.to_string(),
            );
        return Err(format!(
            "this password is among those that are guessed first. {why}"
        ));
    }
    Ok(())
}

/// Whether a password is among the last `depth` of a person, the present one (`current`) included.
pub fn was_used(user_id: Uuid, password: &str, current: &str, depth: i32) -> bool {
    if depth == 0 {
        return false;
    }
    let earlier: Vec<String> = Spi::connect(|client| {
        client
            .select(
                "select password_hash from batchcortex.password_history where user_id = $1 order by replaced_at desc limit $2",
                None,
                &[user_id.into(), (depth - 1).into()],
            )
            .unwrap_or_report()
            .filter_map(|row| row.get(1).unwrap_or_report())
            .collect()
    });
    std::iter::once(current)
        .chain(earlier.iter().map(String::as_str))
        .any(|hash| password::verify(password, hash))
}
