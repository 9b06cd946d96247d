//! The tables, as diesel knows them. Times are microseconds since 1970.
#![allow(missing_docs)]

diesel::table! {
    tenants (id) {
        id -> BigInt,
        slug -> Text,
        name -> Text,
        settings -> Text,
        seats -> Nullable<BigInt>,
        created_at -> BigInt,
        suspended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    grace_values (tenant_id, since) {
        tenant_id -> BigInt,
        since -> BigInt,
        days -> BigInt,
    }
}

diesel::table! {
    accounts (id) {
        id -> BigInt,
        email -> Text,
        email_canonical -> Text,
        name -> Text,
        password_hash -> Nullable<Text>,
        password_length -> BigInt,
        totp_secret -> Nullable<Binary>,
        totp_pending -> Nullable<Binary>,
        totp_enrolled_at -> Nullable<BigInt>,
        totp_last_step -> Nullable<BigInt>,
        time_zone -> Text,
        theme -> Text,
        shortcuts -> Bool,
        installation_owner -> Bool,
        last_tenant -> Nullable<BigInt>,
        mail_opened_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    recovery_codes (account_id, hash) {
        account_id -> BigInt,
        hash -> Binary,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Binary,
        account_id -> BigInt,
        public_id -> Text,
        stage -> Text,
        created_at -> BigInt,
        seen_at -> BigInt,
        ip -> Text,
        user_agent -> Text,
        wrong_codes -> BigInt,
    }
}

diesel::table! {
    known_browsers (account_id, hash) {
        account_id -> BigInt,
        hash -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    sign_in_failures (id) {
        id -> BigInt,
        email_canonical -> Text,
        network -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    links (hash) {
        hash -> Binary,
        purpose -> Text,
        tenant_id -> Nullable<BigInt>,
        account_id -> Nullable<BigInt>,
        details -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
        invitation -> Nullable<Text>,
        email -> Nullable<Text>,
    }
}

diesel::table! {
    console_roles (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        name -> Text,
        built_in -> Nullable<Text>,
        permissions -> Text,
    }
}

diesel::table! {
    members (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        account_id -> Nullable<BigInt>,
        name -> Text,
        email -> Text,
        all_resources -> Bool,
        key_limit -> Nullable<BigInt>,
        grid_columns -> Text,
        created_at -> BigInt,
        suspended_at -> Nullable<BigInt>,
        removed_at -> Nullable<BigInt>,
        shut_at -> Nullable<BigInt>,
        folded -> Text,
    }
}

diesel::table! {
    keepers (tenant_id, service_id, keeper_id) {
        tenant_id -> BigInt,
        service_id -> BigInt,
        keeper_id -> BigInt,
    }
}

diesel::table! {
    member_roles (tenant_id, member_id, role_id) {
        tenant_id -> BigInt,
        member_id -> BigInt,
        role_id -> BigInt,
    }
}

diesel::table! {
    scopes (tenant_id, name) {
        tenant_id -> BigInt,
        name -> Text,
        description -> Text,
    }
}

diesel::table! {
    access_roles (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        name -> Text,
        description -> Text,
    }
}

diesel::table! {
    access_role_scopes (tenant_id, role_id, scope) {
        tenant_id -> BigInt,
        role_id -> BigInt,
        scope -> Text,
    }
}

diesel::table! {
    member_access_roles (tenant_id, member_id, role_id) {
        tenant_id -> BigInt,
        member_id -> BigInt,
        role_id -> BigInt,
    }
}

diesel::table! {
    resources (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        kind -> Text,
        name -> Text,
        description -> Text,
        search -> Text,
    }
}

diesel::table! {
    member_resources (tenant_id, member_id, pattern) {
        tenant_id -> BigInt,
        member_id -> BigInt,
        pattern -> Text,
    }
}

diesel::table! {
    keys (seq) {
        seq -> BigInt,
        tenant_id -> BigInt,
        id -> Text,
        owner_id -> BigInt,
        name -> Text,
        comment -> Text,
        access_kind -> Text,
        access_role_id -> Nullable<BigInt>,
        scopes -> Text,
        all_resources -> Bool,
        resources -> Text,
        ip_ranges -> Text,
        notice_recipients -> Text,
        created_at -> BigInt,
        changed_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        lifetime -> Nullable<Text>,
        expiry_set_at -> BigInt,
        extensions -> BigInt,
        disabled_at -> Nullable<BigInt>,
        disabled_by_id -> Nullable<BigInt>,
        disabled_by -> Nullable<Text>,
        disable_reason -> Text,
        revoked_at -> Nullable<BigInt>,
        revoked_by_id -> Nullable<BigInt>,
        revoked_by -> Nullable<Text>,
        revoke_reason -> Text,
        hash -> Binary,
        pepper -> BigInt,
        made_at -> BigInt,
        made_by -> Text,
        used_at -> Nullable<BigInt>,
        used_ip -> Nullable<Text>,
        old_hash -> Nullable<Binary>,
        old_pepper -> Nullable<BigInt>,
        old_made_at -> Nullable<BigInt>,
        old_made_by -> Nullable<Text>,
        old_used_at -> Nullable<BigInt>,
        old_used_ip -> Nullable<Text>,
        old_replaced_at -> Nullable<BigInt>,
        old_own_expiry -> Nullable<BigInt>,
        old_stops_at -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
        last_used_ip -> Nullable<Text>,
        version -> BigInt,
        name_folded -> Text,
        owner_folded -> Text,
        search -> Text,
    }
}

diesel::table! {
    dead_secrets (tenant_id, key_id, hash) {
        tenant_id -> BigInt,
        key_id -> Text,
        hash -> Binary,
        pepper -> BigInt,
        made_at -> BigInt,
        made_by -> Text,
        died_at -> BigInt,
    }
}

diesel::table! {
    deleted_keys (tenant_id, id) {
        tenant_id -> BigInt,
        id -> Text,
        name -> Text,
        owner_id -> BigInt,
        owner_name -> Text,
        created_at -> BigInt,
        revoked_at -> BigInt,
        deleted_at -> BigInt,
    }
}

diesel::table! {
    key_usage (tenant_id, key_id, hour) {
        tenant_id -> BigInt,
        key_id -> Text,
        hour -> BigInt,
        accepted -> BigInt,
        refused -> BigInt,
    }
}

diesel::table! {
    key_usage_days (tenant_id, key_id, day) {
        tenant_id -> BigInt,
        key_id -> Text,
        day -> BigInt,
        accepted -> BigInt,
        refused -> BigInt,
    }
}

diesel::table! {
    gateways (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        public_id -> Text,
        name -> Text,
        created_at -> BigInt,
        created_by -> Text,
        expires_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
        revoked_by -> Nullable<Text>,
        hash -> Binary,
        pepper -> BigInt,
        made_at -> BigInt,
        old_hash -> Nullable<Binary>,
        old_pepper -> Nullable<BigInt>,
        old_stops_at -> Nullable<BigInt>,
        asked_at -> Nullable<BigInt>,
        asked_from -> Nullable<Text>,
        refused_at -> Nullable<BigInt>,
        refused_from -> Nullable<Text>,
        refused_count -> BigInt,
        version -> BigInt,
    }
}

diesel::table! {
    form_ids (account_id, id) {
        account_id -> BigInt,
        id -> Text,
        result -> Text,
        used_at -> BigInt,
    }
}

diesel::table! {
    changes (seq) {
        seq -> BigInt,
        tenant_id -> BigInt,
        kind -> Text,
        key_id -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    event_chains (tenant_id) {
        tenant_id -> BigInt,
        count -> BigInt,
        head -> Binary,
        seal -> Binary,
        purged_to -> BigInt,
        purged_head -> Nullable<Binary>,
        purged_seal -> Nullable<Binary>,
    }
}

diesel::table! {
    events (tenant_id, number) {
        tenant_id -> BigInt,
        number -> BigInt,
        at -> BigInt,
        actor_kind -> Text,
        actor_id -> Text,
        actor_name -> Text,
        action -> Text,
        target_kind -> Text,
        target_id -> Text,
        target_name -> Text,
        ip -> Text,
        user_agent -> Text,
        details -> Text,
        hash -> Binary,
    }
}

diesel::table! {
    mails (id) {
        id -> BigInt,
        tenant_id -> Nullable<BigInt>,
        account_id -> Nullable<BigInt>,
        kind -> Text,
        facts -> Text,
        recipient -> Text,
        recipient_folded -> Text,
        recipient_name -> Text,
        once -> Text,
        created_at -> BigInt,
        due_at -> BigInt,
        next_at -> Nullable<BigInt>,
        taken_at -> Nullable<BigInt>,
        leased_by -> Nullable<Text>,
        tries -> BigInt,
        sent_at -> Nullable<BigInt>,
        failed_at -> Nullable<BigInt>,
        dropped_at -> Nullable<BigInt>,
        said -> Text,
        rank -> BigInt,
    }
}

diesel::table! {
    notices (id) {
        id -> BigInt,
        mail_id -> BigInt,
        tenant_id -> BigInt,
        key_id -> Text,
        stage -> Text,
        expires_at -> BigInt,
        recipient_folded -> Text,
        role -> Text,
        created_at -> BigInt,
        dropped_at -> Nullable<BigInt>,
        shown -> Nullable<Text>,
    }
}

diesel::table! {
    extensions (tenant_id, key_id, from_expiry) {
        tenant_id -> BigInt,
        key_id -> Text,
        from_expiry -> BigInt,
        to_expiry -> BigInt,
        at -> BigInt,
        recipient_folded -> Text,
    }
}

diesel::table! {
    jobs (name) {
        name -> Text,
        done_to -> BigInt,
        holder -> Text,
        held_until -> BigInt,
    }
}

diesel::table! {
    use_journal (id) {
        id -> BigInt,
        bucket -> BigInt,
        uses -> Binary,
    }
}

diesel::table! {
    reset_requests (id) {
        id -> BigInt,
        email -> Text,
        address -> Text,
        user_agent -> Text,
        at -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    tenants,
    grace_values,
    accounts,
    recovery_codes,
    sessions,
    known_browsers,
    sign_in_failures,
    links,
    console_roles,
    members,
    keepers,
    member_roles,
    scopes,
    access_roles,
    access_role_scopes,
    member_access_roles,
    resources,
    member_resources,
    keys,
    dead_secrets,
    deleted_keys,
    key_usage,
    key_usage_days,
    gateways,
    form_ids,
    changes,
    event_chains,
    events,
    mails,
    notices,
    extensions,
    jobs,
    use_journal,
    reset_requests,
);
