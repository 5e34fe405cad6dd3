//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{all_rows, from_row};
use crate::body::Json;
use crate::database::{Call, Database};
use crate::openapi::OpenProblems;
use crate::problem::{self, Problem};

/// Time within which readiness is decided.
const READY_DEADLINE: Duration = Duration::from_secs(2);

pub(crate) fn live_routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(live))
}

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(ready))
}

/// Liveness.
#[derive(Debug, Serialize, ToSchema)]
struct Live {
    #[schema(example = "live")]
    status: &'static str,
}

/// Readiness: the state of each part of the service.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    #[schema(example = "ready")]
    status: &'static str,
    components: Vec<Component>,
}

/// A part of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Component {
    /// Its name.
    #[schema(example = "sealer")]
    pub component: String,
    /// `up`, `lagging` or `down`; a service of which nothing is down can serve.
    #[schema(example = "up")]
    pub status: String,
    /// More about it.
    pub detail: Option<String>,
}

from_row!(Component {
    component,
    status,
    detail
});

/// Is the process alive?
///
/// Needs neither database nor credential, and answers however busy the service is.
#[utoipa::path(
    get, path = "/v1/health/live", operation_id = "live", tag = "health",
    responses((status = 200, description = "The process answers", body = Live), OpenProblems)
)]
async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

/// Can requests be served?
///
/// Asks the database for the state of each part: extension, migrations, sealer, witnesses. Answers 503, with the same list, when one of
/// them is down or the database does not answer within two seconds.
#[utoipa::path(
    get, path = "/v1/health/ready", operation_id = "ready", tag = "health",
    responses((status = 200, description = "All parts are up", body = Ready), OpenProblems)
)]
async fn ready(State(database): State<Database>) -> Result<Json<Ready>, Problem> {
    let call = Call {
        sql: "select component, status, detail from batchcortex_api.health()",
        parameters: &[],
    };
    let asked = tokio::time::timeout(READY_DEADLINE, database.call(call)).await;
    let rows = asked.unwrap_or_else(|_| {
        Err(Problem::new(
            problem::TIMED_OUT,
            "The database did not answer within two seconds.",
        ))
    });
    let rows = match rows {
        Ok(rows) => rows,
        Err(problem) => {
            let down = Component {
                component: "database".to_owned(),
                status: "down".to_owned(),
                detail: Some(problem.detail().to_owned()),
            };
            let cause = format!("down: database, {}", problem.cause().unwrap_or("no answer"));
            return Err(Problem::new(problem::UNAVAILABLE, "Down: database.")
                .because(cause)
                .components(vec![down]));
        }
    };
    let database = Component {
        component: "database".to_owned(),
        status: "up".to_owned(),
        detail: None,
    };
    let mut components = vec![database];
    components.extend(all_rows::<Component>(rows)?);
    if components.iter().all(|component| component.status != "down") {
        return Ok(Json(Ready {
            status: "ready",
            components,
        }));
    }
    let down = components.iter().filter(|component| component.status == "down");
    let down = down
        .map(|component| component.component.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let problem =
        Problem::new(problem::UNAVAILABLE, format!("Down: {down}.")).because(format!("down: {down}"));
    Err(problem.components(components))
}
