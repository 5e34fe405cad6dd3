//! An organisation with people, equipment, tags and devices, made the way a customer makes them: one function of the DBA,
//! then the API.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::device::Device;
use crate::http::Caller;

/// An organisation with an administrator and an operator who are signed in, and one piece of equipment.
#[derive(Debug)]
pub struct Site {
    /// The organisation.
    pub org_id: Uuid,
    /// May configure and invite.
    pub admin: Caller,
    /// May run batches.
    pub operator: Caller,
    /// The equipment that tags and devices belong to.
    pub equipment: Uuid,
}

impl Site {
    /// Founds an organisation of that name.
    ///
    /// # Errors
    /// When any step is refused.
    pub async fn found(cluster: &Cluster, url: &str, name: &str) -> Result<Site> {
        let database = cluster.superuser().await?;
        // Everyone in these tests comes from one address, and they ask until something has happened.
        for statement in [
            "alter system set batchcortex.rate_authentication = 0",
            "alter system set batchcortex.rate_general = 0",
            "select pg_reload_conf()",
        ] {
            database.batch_execute(statement).await?;
        }
        let admin_name = format!("{name}-admin");
        let row = database
            .query_one(
                "select org_id, invitation from batchcortex.create_organisation($1, $2)",
                &[&name, &admin_name],
            )
            .await?;
        let org_id: Uuid = row.get(0);
        let invitation: String = row.get(1);

        let nobody = Caller::nobody(url);
        join(&nobody, &invitation, "Ada Admin").await?;
        let admin = sign_in(&nobody, &admin_name).await?;

        let operator_name = format!("{name}-operator");
        let invited = admin
            .post(
                "/v1/invitations",
                &json!({"username": operator_name, "role_name": "operator"}),
            )
            .await?
            .ok()?;
        join(&nobody, text(&invited, "invitation")?, "Olga Operator").await?;
        let operator = sign_in(&nobody, &operator_name).await?;

        let made = admin
            .post("/v1/equipment", &json!({"name": format!("{name} bioreactor")}))
            .await?
            .ok()?;
        let equipment = text(&made, "equipment_id")?.parse()?;
        Ok(Site {
            org_id,
            admin,
            operator,
            equipment,
        })
    }

    /// Invites someone in a role, and has them join and sign in.
    ///
    /// # Errors
    /// When any step is refused.
    pub async fn member(&self, username: &str, role: &str) -> Result<Caller> {
        let body = json!({"username": username, "role_name": role});
        let invited = self.admin.post("/v1/invitations", &body).await?.ok()?;
        let nobody = self.admin.without_token();
        join(
            &nobody,
            text(&invited, "invitation")?,
            &format!("Member {username}"),
        )
        .await?;
        sign_in(&nobody, username).await
    }

    /// Registers a tag of the equipment, at the node that the plant gives it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn tag(&self, name: &str, data_type: &str, unit: &str) -> Result<()> {
        let body = json!({"equipment_id": self.equipment, "name": name, "node_id": node_id(name), "data_type": data_type, "unit": unit});
        self.admin.post("/v1/tags", &body).await?.ok().map(drop)
    }

    /// Enrols a device for the equipment.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn device(&self, name: &str, url: &str) -> Result<Device> {
        let made = self
            .admin
            .post(
                "/v1/devices",
                &json!({"name": name, "equipment_id": self.equipment}),
            )
            .await?
            .ok()?;
        let secret = hex::decode(text(&made, "secret")?)?;
        Ok(Device::new(
            url,
            text(&made, "device_id")?.parse()?,
            text(&made, "key_id")?,
            secret,
        ))
    }

    /// Creates a batch and starts it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn batch(&self, number: &str) -> Result<Uuid> {
        let made = self
            .operator
            .post("/v1/batches", &json!({"number": number, "product": "penicillin"}))
            .await?
            .ok()?;
        let batch = text(&made, "batch_id")?.parse()?;
        self.operator
            .post(&format!("/v1/batches/{batch}/start"), &json!({}))
            .await?
            .ok()?;
        Ok(batch)
    }
}

/// Node id of a tag of the plant, with the namespace's URI.
pub fn node_id(tag: &str) -> String {
    format!("nsu=urn:batchcortex:plant;s={tag}")
}

/// The password of everyone here: a test may know it, since each run has its own cluster.
pub const PASSWORD: &str = "correct horse battery staple 7";

/// Accepts an invitation where nothing else is to be accepted.
///
/// # Errors
/// When it is refused.
pub async fn join(nobody: &Caller, invitation: &str, full_name: &str) -> Result<()> {
    let body = json!({
        "invitation": invitation, "full_name": full_name, "password": PASSWORD,
    });
    nobody.post("/v1/invitations/accept", &body).await?.ok().map(drop)
}

/// Signs in with the password alone.
///
/// # Errors
/// When it is refused, or something else is needed.
pub async fn sign_in(nobody: &Caller, username: &str) -> Result<Caller> {
    let answer = nobody
        .post("/v1/login", &json!({"username": username, "password": PASSWORD}))
        .await?
        .ok()?;
    Ok(nobody.with_token(text(&answer, "token")?))
}

/// A member that must be a text.
///
/// # Errors
/// When it is not.
pub fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value[member]
        .as_str()
        .with_context(|| format!("no {member} in {value}"))
}
