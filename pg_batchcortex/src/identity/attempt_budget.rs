//! How often who one is may be tried to be proven: before anything is looked up or hashed, and whatever becomes of the transaction.

use super::binding::{self, Identity, acting_as};
use super::unscoped::unscoped;
use crate::access::rate_limit::{self, Budget, Exceeded};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// One attempt of the address, when it is known, and one of the user name, whoever exists. Both are spent, so that neither many
/// addresses nor many names get around the other. When a budget has run out, one event says so, not one for each attempt after
/// it: an attacker does not fill the log.
///
/// # Errors
/// When one of the two has run out.
pub fn spend(username: &str, from: &Identity) -> Result<(), Exceeded> {
    let of_address = match from.client_ip.as_str() {
        "" => Ok(()),
        address => rate_limit::spend(Budget::Authentication, format!("address {address}").as_bytes()),
    };
    let of_name = match username {
        "" => Ok(()),
        name => rate_limit::spend(
            Budget::Authentication,
            format!("name {}", name.to_lowercase()).as_bytes(),
        ),
    };
    let spent = of_address.and(of_name);
    if spent.is_err_and(|exceeded| exceeded.first) {
        record(from);
    }
    spent
}

fn record(from: &Identity) {
    let system = binding::system(
        [0; 16],
        "authentication",
        &from.client_ip,
        &from.user_agent,
        &from.request_id,
    );
    unscoped(|| {
        acting_as(&system, || {
            Spi::run("select batchcortex.log_event('login.limited', 'user_account', 'unknown')")
                .unwrap_or_report()
        })
    });
}
