//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use tokio_postgres::Row;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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
    /// `up` or `down`.
    #[schema(example = "up")]
    pub status: String,
    /// More about it.
    pub detail: Option<String>,
}

impl TryFrom<Row> for Component {
    type Error = tokio_postgres::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            component: row.try_get("component")?,
            status: row.try_get("status")?,
            detail: row.try_get("detail")?,
        })
    }
}

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
/// Asks the database for the state of each part: extension, migrations, sealer. Answers 503, with the same list, when one of
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
    let mut components = vec![Component {
        component: "database".to_owned(),
        status: "up".to_owned(),
        detail: None,
    }];
    match tokio::time::timeout(READY_DEADLINE, database.call(call)).await {
        Ok(Ok(rows)) => {
            for row in rows {
                components.push(row.try_into()?);
            }
        }
        Ok(Err(problem)) => {
            components[0].status = "down".to_owned();
            components[0].detail = Some(problem.detail().to_owned());
        }
        Err(_) => {
            components[0].status = "down".to_owned();
            components[0].detail = Some("The database did not answer within two seconds.".to_owned());
        }
    }
    if components.iter().all(|component| component.status == "up") {
        return Ok(Json(Ready {
            status: "ready",
            components,
        }));
    }
    let down = components.iter().filter(|component| component.status != "up");
    let down = down
        .map(|component| component.component.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let problem =
        Problem::new(problem::UNAVAILABLE, format!("Down: {down}.")).because(format!("down: {down}"));
    Err(problem.components(components))
}
