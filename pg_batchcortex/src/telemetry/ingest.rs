//! From a signed request to stored segments. A refusal is a result, so that the attempt is recorded.

use super::message::{self, Message, Segment, Values};
use super::proof::{self, Device, Request, Unproven};
use super::time::ticks_ahead;
use crate::error::{self, Refusal};
use crate::identity::binding::{self, Identity, acting_as};
use crate::identity::unscoped::unscoped;
use crate::settings::CLOCK_AHEAD;
use pgrx::datum::{Json, TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A message that is stored, now or before.
struct Receipt {
    device_id: Uuid,
    sequence: i64,
    samples: i32,
    duplicate: bool,
    recorded_at: Option<TimestampWithTimeZone>,
    next_sequence: i64,
}

/// A refusal and what the device needs to go on.
struct Refused {
    refusal: Refusal,
    next_sequence: Option<i64>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused {
            refusal,
            next_sequence: None,
        }
    }
}

/// Stores one message of a device; see batchcortex_api.ingest.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
pub fn ingest_message(
    method: Option<&str>,
    authority: Option<&str>,
    path: Option<&str>,
    content_digest: Option<&str>,
    signature_input: Option<&str>,
    signature: Option<&str>,
    body: Option<&[u8]>,
    client_ip: Option<pgrx::Inet>,
    user_agent: Option<&str>,
    request_id: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(device_id, Option<Uuid>),
        name!(sequence, Option<i64>),
        name!(samples, Option<i32>),
        name!(duplicate, Option<bool>),
        name!(recorded_at, Option<TimestampWithTimeZone>),
        name!(next_sequence, Option<i64>),
        name!(sqlstate, Option<String>),
        name!(detail, Option<String>),
    ),
> {
    let request = request(
        method,
        authority,
        path,
        content_digest,
        signature_input,
        signature,
        body,
    );
    let from = Identity {
        client_ip: client_ip.map(|ip| ip.0).unwrap_or_default(),
        user_agent: user_agent.unwrap_or_default().to_owned(),
        request_id: request_id.unwrap_or_default().to_owned(),
        ..Identity::default()
    };
    let (device, result) = match proof::device(&request) {
        Ok(device) => {
            let result = acting_as(&identity(&device, &from), || store(&device, request.body));
            if let Err(refused) = &result {
                // A device that is behind asks again and again: only what a person should see is recorded.
                if refused.refusal.sqlstate != error::OUT_OF_ORDER {
                    record_refusal(&identity(&device, &from), Some(&device), &refused.refusal);
                }
            }
            (Some(device.device_id), result)
        }
        Err(Unproven { refusal, claimed }) => {
            let org = claimed
                .as_ref()
                .map_or([0; 16], |device| *device.org_id.as_bytes());
            let system = binding::system(
                org,
                "authentication",
                &from.client_ip,
                &from.user_agent,
                &from.request_id,
            );
            record_refusal(&system, claimed.as_deref(), &refusal);
            (None, Err(refusal.into()))
        }
    };
    TableIterator::once(match result {
        Ok(receipt) => (
            "stored".to_owned(),
            Some(receipt.device_id),
            Some(receipt.sequence),
            Some(receipt.samples),
            Some(receipt.duplicate),
            receipt.recorded_at,
            Some(receipt.next_sequence),
            None,
            None,
        ),
        Err(Refused {
            refusal,
            next_sequence,
        }) => {
            let detail = refusal.hint.map_or(refusal.message.clone(), |hint| {
                format!("{}. {hint}", refusal.message)
            });
            (
                "refused".to_owned(),
                device,
                None,
                None,
                None,
                None,
                next_sequence,
                Some(refusal.sqlstate.to_owned()),
                Some(detail),
            )
        }
    })
}

/// Where the server stands with a device; see batchcortex_api.ingest_position.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn ingest_standing(
    method: Option<&str>,
    authority: Option<&str>,
    path: Option<&str>,
    content_digest: Option<&str>,
    signature_input: Option<&str>,
    signature: Option<&str>,
    body: Option<&[u8]>,
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(device_id, Option<Uuid>),
        name!(next_sequence, Option<i64>),
        name!(tags, Option<Json>),
        name!(sqlstate, Option<String>),
        name!(detail, Option<String>),
    ),
> {
    let request = request(
        method,
        authority,
        path,
        content_digest,
        signature_input,
        signature,
        body,
    );
    TableIterator::once(match proof::device(&request) {
        Ok(device) => {
            let (next_sequence, tags) =
                acting_as(&identity(&device, &Identity::default()), || standing(&device));
            (
                "known".to_owned(),
                Some(device.device_id),
                next_sequence,
                tags,
                None,
                None,
            )
        }
        Err(Unproven { refusal, .. }) => (
            "refused".to_owned(),
            None,
            None,
            None,
            Some(refusal.sqlstate.to_owned()),
            Some(refusal.message),
        ),
    })
}

fn request<'a>(
    method: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    content_digest: Option<&'a str>,
    signature_input: Option<&'a str>,
    signature: Option<&'a str>,
    body: Option<&'a [u8]>,
) -> Request<'a> {
    Request {
        method: method.unwrap_or(""),
        authority: authority.unwrap_or(""),
        path: path.unwrap_or(""),
        content_digest: content_digest.unwrap_or(""),
        signature_input: signature_input.unwrap_or(""),
        signature: signature.unwrap_or(""),
        body: body.unwrap_or(&[]),
    }
}

fn identity(device: &Device, from: &Identity) -> Identity {
    Identity {
        org_id: *device.org_id.as_bytes(),
        kind: "device".into(),
        id: Some(*device.device_id.as_bytes()),
        name: device.name.clone(),
        role: "device".into(),
        ..from.clone()
    }
}

/// Everything is checked before anything is written.
fn store(device: &Device, body: &[u8]) -> Result<Receipt, Refused> {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let message = message::parse(body)?;
    if binding::parse_uuid(&message.device_id) != Some(*device.device_id.as_bytes()) {
        return Err(Refusal::new(
            error::UNACCEPTABLE,
            "device_id is not that of the device whose key signed the message",
        )
        .into());
    }
    // Messages of one device take turns; messages of different devices do not meet.
    let next = one::<i64>(
        "select next_sequence from batchcortex.device where org_id = $1 and device_id = $2 for update",
        &[device.org_id.into(), device.device_id.into()],
    )
    .ok_or_else(|| Refusal::new(error::UNKNOWN_KEY, "the device is gone"))?;
    if message.sequence != next {
        return in_the_past(device, &message, &digest, next);
    }
    let batch = batch(device, &message)?;
    let tags = tags(device, &message)?;
    let latest = ticks_ahead(CLOCK_AHEAD.get());
    let mut checked = Vec::with_capacity(message.segments.len());
    for segment in &message.segments {
        let tag = tags.get(segment.tag.as_str()).ok_or_else(|| {
            Refusal::new(
                error::UNKNOWN_TAG,
                format!("the device's equipment has no tag {:?}", segment.tag),
            )
        })?;
        if checked
            .iter()
            .any(|(other, _, _): &(&Tag, _, _)| other.tag_id == tag.tag_id)
        {
            return Err(Refusal::new(
                error::UNACCEPTABLE,
                format!("tag {:?} has two segments in one message", segment.tag),
            )
            .into());
        }
        if segment.first_sample != tag.next_sample {
            let why = format!(
                "the next sample of tag {:?} is number {}, the segment starts at {}",
                segment.tag, tag.next_sample, segment.first_sample
            );
            return Err(Refused {
                refusal: Refusal::new(error::OUT_OF_ORDER, why),
                next_sequence: Some(next),
            });
        }
        checked.push((
            tag,
            segment,
            message::values(segment, &tag.data_type, &tag.form, latest)?,
        ));
    }
    let mut samples = 0i32;
    for (tag, segment, values) in checked {
        samples += segment.source_ticks.len() as i32;
        insert(device, &message, batch, tag, segment, values);
    }
    let recorded_at = one::<TimestampWithTimeZone>(
        "with next as (update batchcortex.device set next_sequence = $3 + 1 where org_id = $1 and device_id = $2)
         insert into batchcortex.ingest_receipt (org_id, device_id, sequence, body_sha256, samples) values ($1, $2, $3, $4, $5) returning recorded_at",
        &[device.org_id.into(), device.device_id.into(), message.sequence.into(), digest.to_vec().into(), samples.into()],
    );
    Ok(Receipt {
        device_id: device.device_id,
        sequence: message.sequence,
        samples,
        duplicate: false,
        recorded_at,
        next_sequence: message.sequence + 1,
    })
}

/// A message that is not the next: the same again is answered as before, another with its number is a conflict.
fn in_the_past(
    device: &Device,
    message: &Message<'_>,
    digest: &[u8; 32],
    next: i64,
) -> Result<Receipt, Refused> {
    let stored = Spi::get_three_with_args::<Vec<u8>, i32, TimestampWithTimeZone>(
        "select body_sha256, samples, recorded_at from batchcortex.ingest_receipt where org_id = $1 and device_id = $2 and sequence = $3",
        &[
            device.org_id.into(),
            device.device_id.into(),
            message.sequence.into(),
        ],
    );
    match stored {
        Ok((Some(body), samples, recorded_at)) if body == digest => Ok(Receipt {
            device_id: device.device_id,
            sequence: message.sequence,
            samples: samples.unwrap_or(0),
            duplicate: true,
            recorded_at,
            next_sequence: next,
        }),
        Ok((Some(_), _, _)) => Err(Refused {
            refusal: Refusal::new(
                error::CONFLICT,
                format!(
                    "message {} of this device is stored with another body",
                    message.sequence
                ),
            ),
            next_sequence: Some(next),
        }),
        _ => Err(Refused {
            refusal: Refusal::new(
                error::OUT_OF_ORDER,
                format!(
                    "the next message of this device is {next}, {} came",
                    message.sequence
                ),
            ),
            next_sequence: Some(next),
        }),
    }
}

fn batch(device: &Device, message: &Message<'_>) -> Result<Option<Uuid>, Refusal> {
    let Some(number) = &message.batch else {
        return Ok(None);
    };
    // Samples that were captured before the end may arrive after it; none can be of a batch that has not begun.
    one::<Uuid>(
        "select batch_id from batchcortex.batch where org_id = $1 and number = $2 and state <> 'planned'",
        &[device.org_id.into(), number.clone().into()],
    )
    .map(Some)
    .ok_or_else(|| {
        Refusal::new(
            error::UNKNOWN_BATCH,
            format!("no batch {number:?} has been started"),
        )
    })
}

struct Tag {
    tag_id: Uuid,
    data_type: String,
    form: String,
    unit: Option<String>,
    next_sample: i64,
}

fn tags<'m>(device: &Device, message: &'m Message<'_>) -> Result<HashMap<&'m str, Tag>, Refusal> {
    let names: Vec<&'m str> = message
        .segments
        .iter()
        .map(|segment| segment.tag.as_str())
        .collect();
    let mut found: HashMap<String, Tag> = HashMap::new();
    Spi::connect(|client| {
        let rows = client
            .select(
                "select t.name, t.tag_id, t.data_type, batchcortex.value_form(t.data_type), t.unit, coalesce(p.next_sample, 1)
                   from batchcortex.tag t
                   left join batchcortex.device_tag p on p.org_id = t.org_id and p.device_id = $3 and p.tag_id = t.tag_id
                  where t.org_id = $1 and t.equipment_id = $2 and t.name = any ($4)",
                None,
                &[
                    device.org_id.into(),
                    device.equipment_id.into(),
                    device.device_id.into(),
                    names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>().into(),
                ],
            )
            .unwrap_or_report();
        for row in rows {
            let text = |i| row.get::<String>(i).unwrap_or_report();
            if let (Some(name), Some(tag_id)) = (text(1), row.get(2).unwrap_or_report()) {
                let tag = Tag {
                    tag_id,
                    data_type: text(3).unwrap_or_default(),
                    form: text(4).unwrap_or_default(),
                    unit: text(5),
                    next_sample: row.get(6).unwrap_or_report().unwrap_or(1),
                };
                found.insert(name, tag);
            }
        }
    });
    Ok(names
        .into_iter()
        .filter_map(|name| found.remove(name).map(|tag| (name, tag)))
        .collect())
}

fn insert(
    device: &Device,
    message: &Message<'_>,
    batch: Option<Uuid>,
    tag: &Tag,
    segment: &Segment<'_>,
    values: Values,
) {
    let count = segment.source_ticks.len() as i64;
    let last = segment.first_sample + count - 1;
    let (mut numbers, mut integers, mut booleans, mut texts) = (None, None, None, None);
    match values {
        Values::Numbers(v) => numbers = Some(v),
        Values::Integers(v) => integers = Some(v),
        Values::Booleans(v) => booleans = Some(v),
        Values::Texts(v) => texts = Some(v),
    }
    Spi::run_with_args(
        "with next as (
             insert into batchcortex.device_tag (org_id, device_id, tag_id, next_sample) values ($1, $2, $4, $7 + 1)
             on conflict (org_id, device_id, tag_id) do update set next_sample = excluded.next_sample)
         insert into batchcortex.sample_segment (org_id, device_id, sequence, tag_id, batch_id, first_sample, last_sample, sample_count,
                data_type, unit, source_ticks, status, numbers, integers, booleans, texts)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        &[
            device.org_id.into(),
            device.device_id.into(),
            message.sequence.into(),
            tag.tag_id.into(),
            batch.into(),
            segment.first_sample.into(),
            last.into(),
            (count as i32).into(),
            tag.data_type.clone().into(),
            tag.unit.clone().into(),
            segment.source_ticks.clone().into(),
            segment.status.iter().map(|status| i64::from(*status)).collect::<Vec<_>>().into(),
            numbers.into(),
            integers.into(),
            booleans.into(),
            texts.into(),
        ],
    )
    .unwrap_or_report();
}

fn standing(device: &Device) -> (Option<i64>, Option<Json>) {
    Spi::get_two_with_args::<i64, Json>(
        "select d.next_sequence,
                (select coalesce(json_agg(json_build_object('tag', t.name, 'next_sample', coalesce(p.next_sample, 1)) order by t.name), '[]')
                   from batchcortex.tag t
                   left join batchcortex.device_tag p on p.org_id = t.org_id and p.device_id = d.device_id and p.tag_id = t.tag_id
                  where t.org_id = d.org_id and t.equipment_id = d.equipment_id)
           from batchcortex.device d where d.org_id = $1 and d.device_id = $2",
        &[device.org_id.into(), device.device_id.into()],
    )
    .unwrap_or_report()
}

/// The attempt, in the log of the organisation whose key was named, else in the installation's own.
fn record_refusal(identity: &Identity, device: Option<&Device>, refusal: &Refusal) {
    let record_id = device.map_or_else(|| "unknown".to_owned(), |device| device.device_id.to_string());
    unscoped(|| {
        acting_as(identity, || {
            Spi::run_with_args(
                "select batchcortex.log_event('ingest.refused', 'device', $1, after => json_build_object('sqlstate', $2::text, 'detail', $3::text))",
                &[record_id.into(), refusal.sqlstate.into(), refusal.message.clone().into()],
            )
            .unwrap_or_report();
        });
    });
}

fn one<T: FromDatum + IntoDatum>(query: &str, arguments: &[pgrx::datum::DatumWithOid<'_>]) -> Option<T> {
    Spi::connect_mut(|client| {
        let rows = client.update(query, Some(1), arguments).unwrap_or_report();
        if rows.is_empty() {
            None
        } else {
            rows.first().get_one().unwrap_or_report()
        }
    })
}
