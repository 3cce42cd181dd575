//! `clusterrunner user`.

use super::password::{self, Asked};
use crate::farm::{connect, impatient};
use crate::options::{
    ChangeUserOptions, CommonOptions, CreateUserOptions, PasswordOptions, UserOptions, UserTask,
};
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::ago;
use crate::output::{self, BAD, NOTICE};
use crate::trouble::{Trouble, of_accounts};
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::accounts::{ChangeUser, CreateUser, UserBody, UserView};

/// Does what is to be done about users.
pub(crate) async fn run(options: UserOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    match options.task {
        UserTask::Create(options) => create(&client, options).await?,
        UserTask::List { json } => list(&client, json).await?,
        UserTask::Change(options) => change(&client, options).await?,
        UserTask::Passwd { name, password } => passwd(&client, &name, &password).await?,
        UserTask::Delete { name } => {
            check_name(&name)?;
            client.delete_user(&name).await.map_err(of_accounts)?;
            output::tell(format!("User {name} is deleted."));
        }
    }
    Ok(ExitCode::Success)
}

async fn create(client: &Client, options: CreateUserOptions) -> Result<(), Trouble> {
    check_name(&options.name)?;
    let password = password::new(&options.password, &options.name, Asked::Once)?;
    let user = CreateUser {
        name: options.name,
        password: password.new,
        email: options.email.unwrap_or_default(),
        first_name: options.first_name.unwrap_or_default(),
        last_name: options.last_name.unwrap_or_default(),
        is_superuser: options.superuser,
    };
    let user = client.create_user(&user).await.map_err(of_accounts)?;
    if options.json {
        output::say_versioned(&UserBody { user });
        return Ok(());
    }
    let what = match user.is_superuser {
        true => "superuser",
        false => "user",
    };
    output::tell(format!("Created the {what} {}.", user.name));
    output::note(format!(
        "a token for it: {}",
        command(format_args!(
            "token create --user {} --name NAME",
            user.name
        ))
    ));
    Ok(())
}

async fn list(client: &Client, json: bool) -> Result<(), Trouble> {
    if json {
        let body: serde_json::Value = client.read("/v2/users").await?;
        output::say_versioned(&body);
        return Ok(());
    }
    let users = client.users().await?.users;
    if users.is_empty() {
        let create = command("user create NAME");
        output::say(format!("There are no users. `{create}` makes one."));
        return Ok(());
    }
    let mut table = Table::new(&["User", "Rights", "E-mail", "Name", "Last log-in"]);
    for user in &users {
        let rights = match (user.is_active, user.is_superuser) {
            (false, _) => Cell::styled(BAD, "deactivated"),
            (true, true) => Cell::styled(NOTICE, "superuser"),
            (true, false) => Cell::from("user"),
        };
        table.add([
            Cell::from(user.name.as_str()),
            rights,
            Cell::from(user.email.as_str()),
            Cell::from(full_name(user)),
            Cell::from(user.last_login.map_or_else(|| "never".to_owned(), ago)),
        ]);
    }
    table.print();
    Ok(())
}

fn full_name(user: &UserView) -> String {
    let name = format!("{} {}", user.first_name, user.last_name);
    name.trim().to_owned()
}

async fn change(client: &Client, options: ChangeUserOptions) -> Result<(), Trouble> {
    check_name(&options.name)?;
    let switched = |on: bool, off: bool| (on || off).then_some(on);
    let change = ChangeUser {
        email: options.email,
        first_name: options.first_name,
        last_name: options.last_name,
        is_superuser: switched(options.superuser, options.no_superuser),
        is_active: switched(options.activate, options.deactivate),
        ..ChangeUser::default()
    };
    let user = client
        .change_user(&options.name, &change)
        .await
        .map_err(of_accounts)?;
    output::tell(format!("User {} is changed.", user.name));
    Ok(())
}

async fn passwd(client: &Client, name: &str, options: &PasswordOptions) -> Result<(), Trouble> {
    check_name(name)?;
    // Before anything is asked for: who asks, and whether the master answers.
    let caller = client.users().await?.caller;
    let asked = match caller.is_some_and(|caller| caller.eq_ignore_ascii_case(name)) {
        true => Asked::WithThePresentOne,
        false => Asked::Once,
    };
    let password = password::new(options, name, asked)?;
    let change = ChangeUser {
        password: Some(password.new),
        old_password: password.present,
        ..ChangeUser::default()
    };
    let user = client
        .change_user(name, &change)
        .await
        .map_err(of_accounts)?;
    output::tell(format!("User {} has another password.", user.name));
    Ok(())
}

/// A name becomes a part of a path.
pub(super) fn check_name(name: &str) -> Result<(), Trouble> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (1..=156).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(()),
        false => {
            let trouble = Trouble::usage(format!("'{name}' can not be the name of a user"));
            Err(trouble.hint("a name has 1 to 156 letters (a-z, A-Z), digits, - and _"))
        }
    }
}
