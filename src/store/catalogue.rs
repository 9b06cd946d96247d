//! What the tenant's API can allow, as its admins keep it: pages of scopes, access roles and resources, who uses them, and how
//! they change. What somebody holds is in [`super::access`].

use diesel::prelude::*;

use super::{Db, StoreError, schema::resources};
use crate::domain::ids::TenantId;

/// Whether the tenant has a resource of this kind.
///
/// # Errors
/// The database is away.
pub fn has_kind(db: &mut Db, tenant: TenantId, kind: &str) -> Result<bool, StoreError> {
    let found = resources::table.filter(resources::tenant_id.eq(tenant.number()).and(resources::kind.eq(kind)));
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(db.conn())?)
}

/// Whether the tenant has this resource.
///
/// # Errors
/// The database is away.
pub fn has_resource(db: &mut Db, tenant: TenantId, kind: &str, name: &str) -> Result<bool, StoreError> {
    let found = resources::table.filter(resources::tenant_id.eq(tenant.number()).and(resources::kind.eq(kind)).and(resources::name.eq(name)));
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(db.conn())?)
}
