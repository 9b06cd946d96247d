//! What is done to a tenant: its settings.

use serde_json::json;

use super::{
    By, CodeProof,
    members::{MemberError, within_bounds},
};
use crate::{
    domain::{event::Action, permission::Permission, tenant::Settings},
    store::{StoreError, Tx, events, tenants},
};

/// Why settings were not saved, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SettingsError {
    #[error("You may not change the settings of this tenant.")]
    NotAllowed,
    #[error("Enter the code from your authenticator app.")]
    NeedsCode,
    #[error("The installation owner has suspended this tenant: its settings can be read, not changed.")]
    Suspended,
    #[error("These settings were changed in the meantime. Look at them as they are now, and decide again.")]
    Changed,
    #[error(transparent)]
    Bounds(MemberError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MemberError> for SettingsError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Store(error) => Self::Store(error),
            MemberError::NotAllowed => Self::NotAllowed,
            other => Self::Bounds(other),
        }
    }
}

/// Changes the settings of the acting member's tenant by `change`, which gets them as they are now, and may refuse. Returns what
/// they are then.
///
/// # Errors
/// See [`SettingsError`]; nothing is changed then.
pub fn change_settings(
    tx: &mut Tx<'_>,
    by: &By,
    change: impl FnOnce(&mut Settings) -> Result<(), SettingsError>,
    proof: Option<&CodeProof>,
) -> Result<Settings, SettingsError> {
    let by = &super::in_turn(tx, by)?.ok_or(SettingsError::NotAllowed)?;
    let acting = by.acting().filter(|acting| acting.may(Permission::SettingsManage)).ok_or(SettingsError::NotAllowed)?;
    let before = acting.tenant.clone();
    if before.suspended_at.is_some() {
        return Err(SettingsError::Suspended);
    }
    let mut settings = before.settings.clone();
    change(&mut settings)?;
    // Who may not see keys cannot manage them.
    settings.admins_manage_all &= settings.admins_see_all;
    if settings.keys_enabled && !before.settings.keys_enabled && before.settings.code_actions.turn_on && proof.is_none() {
        return Err(SettingsError::NeedsCode);
    }
    let changes = difference(&before.settings, &settings);
    if !changes.is_empty() {
        within_bounds(tx, &before, |tx| Ok::<_, SettingsError>(tenants::save_settings(tx, &before, &settings)?))?;
        let target = ("tenant", before.slug.as_str(), before.name.as_str());
        events::add(tx, before.id, &by.event(Action::SettingsChanged, target, changes.into()))?;
    }
    Ok(settings)
}

/// The settings that differ, each as `{"from": …, "to": …}`.
fn difference(before: &Settings, after: &Settings) -> serde_json::Map<String, serde_json::Value> {
    let (Ok(serde_json::Value::Object(before)), Ok(serde_json::Value::Object(after))) = (serde_json::to_value(before), serde_json::to_value(after))
    else {
        return serde_json::Map::new();
    };
    after
        .into_iter()
        .filter(|(name, to)| before.get(name) != Some(to))
        .map(|(name, to)| (name.clone(), json!({ "from": before.get(&name), "to": to })))
        .collect()
}
