-- Keys of programs.

create function batchcortex_api.create_api_key(name text, role_name text, scopes text[], expires_at timestamptz)
returns table (key_id uuid, api_key text, shown_as text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    token text;
    lacking text;
begin
    perform batchcortex.require_person();
    perform batchcortex.require_permission('api_key.manage');
    if nullif(btrim(create_api_key.name), '') is null or length(create_api_key.name) > 100 then
        raise exception 'an API key has a name of 1 to 100 characters' using errcode = 'BC422';
    end if;
    if create_api_key.expires_at is null or create_api_key.expires_at <= clock_timestamp() or create_api_key.expires_at > clock_timestamp() + interval '1 year' then
        raise exception 'an API key expires within a year from now' using errcode = 'BC422';
    end if;
    if coalesce(cardinality(create_api_key.scopes), 0) = 0 then
        raise exception 'an API key has one scope at least' using errcode = 'BC422', hint = 'Scopes are names of permissions, such as batch.read.';
    end if;
    select s into lacking from unnest(create_api_key.scopes) s
     where not exists (select from batchcortex.role_permission p where p.role_name = create_api_key.role_name and p.permission = s) limit 1;
    if found then
        raise exception 'the role % lacks the permission %', quote_nullable(create_api_key.role_name), quote_nullable(left(lacking, 100)) using errcode = 'BC422';
    end if;
    token := batchcortex.generate_api_key();
    shown_as := left(token, 4) || '…' || right(token, 4);
    insert into batchcortex.api_key (org_id, name, role_name, scopes, token_sha256, shown_as, created_by, expires_at)
        values (batchcortex.current_org_id(), create_api_key.name, create_api_key.role_name,
                array(select distinct s from unnest(create_api_key.scopes) s order by s),
                sha256(token::bytea), create_api_key.shown_as, batchcortex.current_user_id(), create_api_key.expires_at)
        on conflict on constraint api_key_name do nothing
        returning batchcortex.api_key.key_id into create_api_key.key_id;
    if create_api_key.key_id is null then
        raise exception 'an API key named % exists', quote_literal(create_api_key.name) using errcode = 'BC409';
    end if;
    perform batchcortex.log_event('api_key.created', 'api_key', create_api_key.key_id::text,
        after => json_build_object('name', create_api_key.name, 'role_name', create_api_key.role_name, 'scopes', create_api_key.scopes,
            'shown_as', create_api_key.shown_as, 'expires_at', create_api_key.expires_at));
    create_api_key.api_key := token;
    return next;
end
$$;
comment on function batchcortex_api.create_api_key(text, text, text[], timestamptz) is
'Makes an API key (bck_…, shown once) with a role and scopes: it may do what its role may and its scopes name. Expires within a year. Errors: BC401, BC403, BC409 name taken, BC422.';

create function batchcortex_api.api_keys()
returns table (key_id uuid, name text, shown_as text, role_name text, scopes text[], created_by uuid, created_at timestamptz, expires_at timestamptz,
    revoked_at timestamptz, last_used_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('api_key.manage');
    return query
        select k.key_id, k.name, k.shown_as, k.role_name, k.scopes, k.created_by, k.created_at, k.expires_at, k.revoked_at, k.last_used_at
          from batchcortex.api_key k where k.org_id = batchcortex.current_org_id() order by k.created_at, k.key_id;
end
$$;
comment on function batchcortex_api.api_keys() is 'API keys of the organisation; of the key itself only prefix and last four characters. Errors: BC401, BC403.';

create function batchcortex_api.revoke_api_key(key_id uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('api_key.manage');
    perform batchcortex.require_reason(reason);
    update batchcortex.api_key k set revoked_at = clock_timestamp()
     where k.org_id = batchcortex.current_org_id() and k.key_id = revoke_api_key.key_id and k.revoked_at is null;
    if not found then
        raise exception 'unknown API key' using errcode = 'BC404';
    end if;
    perform batchcortex.log_event('api_key.revoked', 'api_key', key_id::text, reason => reason);
end
$$;
comment on function batchcortex_api.revoke_api_key(uuid, text) is 'Ends an API key at once. Errors: BC401, BC403, BC404, BC422 no reason.';

comment on function batchcortex.generate_api_key() is 'A new API key (bck_ and 64 hex digits from the operating system''s generator).';
