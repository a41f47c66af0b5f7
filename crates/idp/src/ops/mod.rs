//! The table of operations: what can be called, and what proof each asks for.

pub(crate) mod admin_create_user;
pub mod app_clients;
mod attribute_verification;
mod client_secrets;
pub(crate) mod groups;
mod list_users;
mod mfa;
mod passwords;
pub(crate) mod recovery;
mod sign_in;
mod sign_out;
pub(crate) mod sign_up;
mod tags;
mod tokens;
mod update_attributes;
pub mod user_pools;
pub(crate) mod users;

use std::sync::LazyLock;

use lido_wire::ops::*;

use crate::{Class, Route};

const fn iam<O: crate::Operation<Caller = crate::caller::Iam>>() -> Route {
    Route::of::<O>()
}

const fn signed_in<O: crate::Operation<Caller = crate::caller::SignedIn>>() -> Route {
    Route::of::<O>()
}

const fn app_client<O: crate::Operation<Caller = crate::caller::PublicClient>>() -> Route {
    Route::of::<O>()
}

const fn session<O: crate::Operation<Caller = crate::caller::ChallengeAnswer>>() -> Route {
    Route::of::<O>()
}

const fn token_or_session<O: crate::Operation<Caller = crate::caller::TokenOrSession>>() -> Route {
    Route::of::<O>()
}

const fn refresh_token<O: crate::Operation<Caller = crate::caller::RefreshTokenHolder>>() -> Route {
    Route::of::<O>()
}

const fn client_secret<O: crate::Operation<Caller = crate::caller::ClientWithSecret>>() -> Route {
    Route::of::<O>()
}

/// Every operation with behaviour, by what proves its caller.
pub static OPERATIONS: &[Route] = &[
    // SigV4, and a policy that allows the action.
    iam::<AddCustomAttributes>(),
    iam::<AddUserPoolClientSecret>(),
    iam::<AdminAddUserToGroup>(),
    iam::<AdminConfirmSignUp>(),
    iam::<AdminCreateUser>(),
    iam::<AdminDeleteSoftwareToken>(),
    iam::<AdminDeleteUser>(),
    iam::<AdminDeleteUserAttributes>(),
    iam::<AdminDisableUser>(),
    iam::<AdminEnableUser>(),
    iam::<AdminGetUser>(),
    iam::<AdminGetUserAuthFactors>(),
    iam::<AdminInitiateAuth>(),
    iam::<AdminListGroupsForUser>(),
    iam::<AdminRemoveUserFromGroup>(),
    iam::<AdminResetUserPassword>(),
    iam::<AdminRespondToAuthChallenge>(),
    iam::<AdminSetUserMFAPreference>(),
    iam::<AdminSetUserPassword>(),
    iam::<AdminSetUserSettings>(),
    iam::<AdminUpdateUserAttributes>(),
    iam::<AdminUserGlobalSignOut>(),
    iam::<CreateGroup>(),
    iam::<CreateUserPool>(),
    iam::<CreateUserPoolClient>(),
    iam::<DeleteGroup>(),
    iam::<DeleteUserPool>(),
    iam::<DeleteUserPoolClient>(),
    iam::<DeleteUserPoolClientSecret>(),
    iam::<DescribeUserPool>(),
    iam::<DescribeUserPoolClient>(),
    iam::<GetGroup>(),
    iam::<GetUserPoolMfaConfig>(),
    iam::<ListGroups>(),
    iam::<ListTagsForResource>(),
    iam::<ListUserPoolClientSecrets>(),
    iam::<ListUserPoolClients>(),
    iam::<ListUserPools>(),
    iam::<ListUsers>(),
    iam::<ListUsersInGroup>(),
    iam::<SetUserPoolMfaConfig>(),
    iam::<TagResource>(),
    iam::<UntagResource>(),
    iam::<UpdateGroup>(),
    iam::<UpdateUserPool>(),
    iam::<UpdateUserPoolClient>(),
    // An access token in the body, with the account scope.
    signed_in::<ChangePassword>(),
    signed_in::<DeleteUser>(),
    signed_in::<DeleteUserAttributes>(),
    signed_in::<GetUser>(),
    signed_in::<GetUserAttributeVerificationCode>(),
    signed_in::<GetUserAuthFactors>(),
    signed_in::<GlobalSignOut>(),
    signed_in::<SetUserMFAPreference>(),
    signed_in::<SetUserSettings>(),
    signed_in::<UpdateUserAttributes>(),
    signed_in::<VerifyUserAttribute>(),
    // The client id, and the secret hash where the client has a secret.
    app_client::<ConfirmForgotPassword>(),
    app_client::<ConfirmSignUp>(),
    app_client::<ForgotPassword>(),
    app_client::<InitiateAuth>(),
    app_client::<ResendConfirmationCode>(),
    app_client::<SignUp>(),
    // The same, with the session or the sealed block of the sign-in that it continues.
    session::<RespondToAuthChallenge>(),
    // An access token, or the session of the challenge MFA_SETUP, which names its client.
    token_or_session::<AssociateSoftwareToken>(),
    token_or_session::<VerifySoftwareToken>(),
    // A refresh token, the client id, and the secret in clear where the client has one.
    refresh_token::<GetTokensFromRefreshToken>(),
    refresh_token::<RevokeToken>(),
    // The client id and its secret in clear. No signature, whatever the model says: policies are not asked.
    client_secret::<GetClientToken>(),
];

/// Every operation of the model: those of [`OPERATIONS`], and the rest as not built.
pub fn routes() -> &'static [Route] {
    static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
        lido_wire::OPERATIONS
            .iter()
            .map(|facts| match OPERATIONS.iter().find(|route| route.facts.name == facts.name) {
                Some(built) => Route { facts, class: built.class, run: built.run },
                None => Route { facts, class: Class::NotBuilt, run: None },
            })
            .collect()
    });
    &ROUTES
}
