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
use clusterrunner_common::api::slave_keys::{CreateJoinToken, JoinTokenView};
use clusterrunner_common::ids::TokenId;

/// Does what is to be done about tokens.
pub(crate) async fn run(options: TokenOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    match options.task {
        TokenTask::Create(options) => create(&client, options).await?,
        TokenTask::List { user, json } => list(&client, user.as_deref(), json).await?,
        TokenTask::Revoke { tokens } => {
            for token in tokens {
                revoke(&client, token).await?;
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

/// Ends a token of a user, or one with which slaves join: no two have the same number.
async fn revoke(client: &Client, token: TokenId) -> Result<(), Trouble> {
    match client.revoke_token(token).await {
        Err(error) if error.status().is_some_and(|status| status == 404) => {
            let ended = client.revoke_join_token(token).await;
            ended.map_err(|_| of_accounts(error))
        }
        ended => ended.map_err(of_accounts),
    }
}

async fn create(client: &Client, options: CreateTokenOptions) -> Result<(), Trouble> {
    let Some(role) = options.role.of_user() else {
        return create_for_slaves(client, options).await;
    };
    if options.address.is_some() || options.uses.is_some() {
        return Err(Trouble::usage(
            "--address and --uses are for tokens with which slaves join: --role slave",
        ));
    }
    let no_name = || Trouble::usage("say with --name what the token is for");
    let token = CreateToken {
        user: options.user,
        name: options.name.ok_or_else(no_name)?,
        role,
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

async fn create_for_slaves(client: &Client, options: CreateTokenOptions) -> Result<(), Trouble> {
    if options.user.is_some() {
        return Err(Trouble::usage(
            "a token with which slaves join is of no user: leave --user out",
        ));
    }
    let token = CreateJoinToken {
        name: options.name.unwrap_or_else(|| "slaves".to_owned()),
        expires_in: options.expires.map(|time| time.as_secs()),
        address: options.address,
        uses: options.uses,
    };
    let created = client
        .create_join_token(&token)
        .await
        .map_err(of_accounts)?;
    if options.json {
        output::say_versioned(&created);
        return Ok(());
    }
    let id = created.token.id;
    output::note(format!(
        "join token {id}, for `clusterrunner slave --join-token-file`; it is not shown again, and `{}` ends it:",
        command(format_args!("token revoke {id}"))
    ));
    output::say(created.text);
    Ok(())
}

/// Those with which slaves join, where the caller may see them and the master knows of them.
async fn join_tokens(client: &Client) -> Vec<JoinTokenView> {
    let body = client.join_tokens().await;
    body.map_or_else(|_| Vec::new(), |body| body.tokens)
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
    let of_slaves = match user {
        Some(_) => Vec::new(),
        None => join_tokens(client).await,
    };
    if tokens.is_empty() && of_slaves.is_empty() {
        let create = command("token create");
        output::say(format!("There are no named tokens. `{create}` makes one."));
        return Ok(());
    }
    let mut table = Table::new(&["Token", "User", "Name", "Role", "Created", "Ends"]);
    for token in &tokens {
        let ends = end(token.is_expired, token.expires);
        table.add([
            Cell::from(token.id.to_string()),
            Cell::from(token.user.as_str()),
            Cell::from(token.name.as_str()),
            Cell::from(token.role.to_string()),
            Cell::from(ago(token.created)),
            ends,
        ]);
    }
    for token in &of_slaves {
        table.add([
            Cell::from(token.id.to_string()),
            Cell::from("-"),
            Cell::from(token.name.as_str()),
            Cell::from(format!("slave, used {} of {}", token.used, token.uses)),
            Cell::from(ago(token.created)),
            end(token.is_expired, token.expires),
        ]);
    }
    table.print();
    Ok(())
}

fn end(is_expired: bool, expires: Option<f64>) -> Cell {
    match (is_expired, expires) {
        (true, _) => Cell::styled(BAD, "has ended"),
        (false, Some(expires)) => Cell::from(until(expires)),
        (false, None) => Cell::from("never"),
    }
}
