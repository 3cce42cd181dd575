//! `clusterrunner token`.

use super::user::check_name;
use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, CreateTokenOptions, TokenOptions, TokenTask};
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::{ago, until};
use crate::output::{self, BAD};
use crate::trouble::{Trouble, of_accounts};
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::accounts::{CreateToken, TokenView, TokensBody};

/// Does what is to be done about tokens.
pub(crate) async fn run(options: TokenOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    match options.task {
        TokenTask::Create(options) => create(&client, options).await?,
        TokenTask::List { user, json } => list(&client, user.as_deref(), json).await?,
        TokenTask::Revoke { tokens } => {
            for token in tokens {
                client.revoke_token(token).await.map_err(of_accounts)?;
                output::tell(format!("Token {token} is revoked."));
            }
        }
        TokenTask::Renew { user } => {
            check_name(&user)?;
            let renewed = client.renew_token(&user).await.map_err(of_accounts)?;
            output::note(format!(
                "the API token of {user}; the one before opens nothing now:"
            ));
            output::say(renewed.token);
        }
    }
    Ok(ExitCode::Success)
}

async fn create(client: &Client, options: CreateTokenOptions) -> Result<(), Trouble> {
    let token = CreateToken {
        user: options.user,
        name: options.name,
        role: options.role.into(),
        expires_in: options.expires.map(|time| time.as_secs()),
    };
    let created = client.create_token(&token).await.map_err(of_accounts)?;
    if options.json {
        output::say_versioned(&created);
        return Ok(());
    }
    let TokenView { id, user, role, .. } = &created.token;
    output::note(format!(
        "token {id} of {user} with the role {role}; it is not shown again, and `{}` ends it:",
        command(format_args!("token revoke {id}"))
    ));
    output::say(created.text);
    Ok(())
}

async fn list(client: &Client, user: Option<&str>, json: bool) -> Result<(), Trouble> {
    let mut body = client.tokens().await?;
    if let Some(user) = user {
        let is_of_user = |token: &TokenView| token.user.eq_ignore_ascii_case(user);
        body.tokens.retain(is_of_user);
    }
    if json {
        output::say_versioned(&body);
        return Ok(());
    }
    let TokensBody { tokens } = body;
    if tokens.is_empty() {
        let create = command("token create");
        output::say(format!("There are no named tokens. `{create}` makes one."));
        return Ok(());
    }
    let mut table = Table::new(&["Token", "User", "Name", "Role", "Created", "Ends"]);
    for token in &tokens {
        let ends = match (token.is_expired, token.expires) {
            (true, _) => Cell::styled(BAD, "has ended"),
            (false, Some(expires)) => Cell::from(until(expires)),
            (false, None) => Cell::from("never"),
        };
        table.add([
            Cell::from(token.id.to_string()),
            Cell::from(token.user.as_str()),
            Cell::from(token.name.as_str()),
            Cell::from(token.role.to_string()),
            Cell::from(ago(token.created)),
            ends,
        ]);
    }
    table.print();
    Ok(())
}
