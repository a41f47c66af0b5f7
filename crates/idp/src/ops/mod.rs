//! The table of operations: what can be called, and what proof each asks for.

mod admin_create_user;
pub mod app_clients;
mod attribute_verification;
pub(crate) mod groups;
mod list_users;
mod passwords;
mod recovery;
mod sign_in;
mod sign_out;
mod sign_up;
mod tags;
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

const fn refresh_token<O: crate::Operation<Caller = crate::caller::RefreshTokenHolder>>() -> Route {
    Route::of::<O>()
}

/// Every operation with behaviour, by what proves its caller.
pub static OPERATIONS: &[Route] = &[
    // SigV4, and a policy that allows the action.
    iam::<AddCustomAttributes>(),
    iam::<AdminAddUserToGroup>(),
    iam::<AdminConfirmSignUp>(),
    iam::<AdminCreateUser>(),
    iam::<AdminDeleteUser>(),
    iam::<AdminDeleteUserAttributes>(),
    iam::<AdminDisableUser>(),
    iam::<AdminEnableUser>(),
    iam::<AdminGetUser>(),
    iam::<AdminInitiateAuth>(),
    iam::<AdminListGroupsForUser>(),
    iam::<AdminRemoveUserFromGroup>(),
    iam::<AdminResetUserPassword>(),
    iam::<AdminRespondToAuthChallenge>(),
    iam::<AdminSetUserPassword>(),
    iam::<AdminUpdateUserAttributes>(),
    iam::<AdminUserGlobalSignOut>(),
    iam::<CreateGroup>(),
    iam::<CreateUserPool>(),
    iam::<CreateUserPoolClient>(),
    iam::<DeleteGroup>(),
    iam::<DeleteUserPool>(),
    iam::<DeleteUserPoolClient>(),
    iam::<DescribeUserPool>(),
    iam::<DescribeUserPoolClient>(),
    iam::<GetGroup>(),
    iam::<ListGroups>(),
    iam::<ListTagsForResource>(),
    iam::<ListUserPoolClients>(),
    iam::<ListUserPools>(),
    iam::<ListUsers>(),
    iam::<ListUsersInGroup>(),
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
    signed_in::<GlobalSignOut>(),
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
    // A refresh token, the client id, and the secret in clear where the client has one.
    refresh_token::<RevokeToken>(),
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
