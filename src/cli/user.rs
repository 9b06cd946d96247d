//! `keyward user`: accounts, for when nobody can sign in to make or mend them. Each prints a link that works once.

use super::{Failure, Settings};
use crate::{
    actions::{By, operator},
    app::App,
    domain::{names::EmailAddress, permission::BuiltIn, time::date_time},
};

pub const EXAMPLES: &str = "Examples:
  keyward user create --email ada@example.com --name 'Ada Diaz' --tenant acme --role tenant_admin --role developer
  keyward user create --email root@example.com --name 'Root' --installation-owner
  keyward user reset ada@example.com
  keyward user clear-totp ada@example.com";

#[derive(clap::Args)]
pub struct User {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make an account, as a member of a tenant or as installation owner, and print a link that sets its password
    Create(Create),
    /// Print a link that sets a new password; every session of the account ends with its use
    Reset(One),
    /// Remove two-step sign-in from an account whose device and recovery codes are lost; its sessions end
    ClearTotp(One),
}

#[derive(clap::Args)]
struct Create {
    /// The e-mail address
    #[arg(long)]
    email: String,
    /// The person's name
    #[arg(long)]
    name: String,
    /// The address of the tenant, as in /t/acme
    #[arg(long, required_unless_present = "installation_owner")]
    tenant: Option<String>,
    /// A console role in the tenant: tenant_admin, developer or auditor; may be given several times
    #[arg(long = "role", value_name = "ROLE", requires = "tenant", value_parser = role)]
    roles: Vec<BuiltIn>,
    /// Look after the tenants, and be a member of none
    #[arg(long, conflicts_with = "tenant")]
    installation_owner: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(clap::Args)]
struct One {
    /// The e-mail address of the account
    email: String,
    #[command(flatten)]
    settings: Settings,
}

fn role(text: &str) -> Result<BuiltIn, String> {
    let known = BuiltIn::ALL.iter().find(|(_, stored, _)| *stored == text.replace('-', "_"));
    known.map(|(role, ..)| *role).ok_or_else(|| "the console roles are tenant_admin, developer and auditor".to_owned())
}

pub fn run(args: &User) -> Result<(), Failure> {
    match &args.command {
        Command::Create(create) => self::create(create),
        Command::Reset(one) => {
            let app = one.settings.open()?;
            let token = app.store.write(app.clock.now(), |tx| operator::reset_link(tx, &by(&app, "user reset"), &one.email))?;
            println!("Open this link to set a new password. It works once, until {}:", until(&app));
            println!("{}/password/reset/{}", app.config.public_url, token.reveal());
            Ok(())
        }
        Command::ClearTotp(one) => {
            let app = one.settings.open()?;
            app.store.write(app.clock.now(), |tx| operator::clear_totp(tx, &by(&app, "user clear-totp"), &one.email))?;
            println!("Two-step sign-in is removed, and every session of {} has ended.", one.email);
            Ok(())
        }
    }
}

fn create(args: &Create) -> Result<(), Failure> {
    let email: EmailAddress = args.email.parse().map_err(|error| Failure::from(format!("--email: {error}")))?;
    let name = crate::domain::names::line("a name", &args.name, 1, 100).map_err(|error| Failure::from(format!("--name: {error}")))?;
    let app = args.settings.open()?;
    let new = operator::NewUser { email: &email, name: &name, tenant: args.tenant.as_deref(), roles: &args.roles };
    let token = app.store.write(app.clock.now(), |tx| operator::create_user(tx, &by(&app, "user create"), &new))?;
    match token {
        Some(token) => {
            println!("The account is made. This link sets its password. It works once, until {}:", until(&app));
            println!("{}/password/reset/{}", app.config.public_url, token.reveal());
        }
        None => println!("{email} has an account, and is a member now; the password stays."),
    }
    Ok(())
}

fn by(app: &App, command: &str) -> By {
    By::operator(Some(&format!("keyward {command}")), app.clock.now())
}

fn until(app: &App) -> String {
    date_time(app.clock.now() + chrono::Duration::hours(1))
}
