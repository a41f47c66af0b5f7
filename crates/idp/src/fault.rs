//! Every error that a client can see, by situation: each exact text stands once, here.
//!
//! Sources of the texts: *measured* against the real service, *attested* by several unrelated
//! clients that compare the string, *inferred* from the service's framework or its documentation.

use lido_domain::ports::InvokeError;
use lido_wire::{ErrorCode, OperationFacts};

/// What a client sees: a code of the model (or of the request framework), its status, its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: &'static str,
    pub status: u16,
    pub message: Option<String>,
}

const NOT_IMPLEMENTED: &str = "NotImplementedException";

impl Fault {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.as_str(), status: code.status(), message: Some(message.into()) }
    }

    /// An error of the layer below the service: not in the model.
    const fn framework(code: &'static str, status: u16, message: Option<String>) -> Self {
        Self { code, status, message }
    }

    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.as_str()
    }

    /// Whether it says that Lido has not built something.
    pub fn is_not_implemented(&self) -> bool {
        self.code == NOT_IMPLEMENTED
    }
}

/// A fault, or something that a client is not told about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {}", .0.code, .0.message.as_deref().unwrap_or_default())]
    Fault(Fault),
    /// What was read has changed before it was written; the operation is run again.
    #[error("a concurrent change")]
    Conflict,
    #[error(transparent)]
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<lido_store::Error> for Error {
    fn from(error: lido_store::Error) -> Self {
        match error {
            lido_store::Error::Busy => too_many_requests().into(),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl Error {
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }
}

// ---- The request framework -------------------------------------------------------------------

/// Unknown or missing `X-Amz-Target`. Inferred: a convention of the framework.
pub fn unknown_operation() -> Fault {
    Fault::framework("UnknownOperationException", 400, None)
}

/// A body that is not a JSON map, or a value of the wrong JSON type. Attested.
pub fn serialization(message: impl Into<String>) -> Fault {
    Fault::framework("SerializationException", 400, Some(message.into()))
}

/// A body above the limit; the service's own limit and text are not known.
pub fn request_too_large() -> Fault {
    Fault::framework("RequestEntityTooLargeException", 413, Some("The request body is too large.".into()))
}

/// A body that did not arrive in time, or not whole; the text is Lido's.
pub fn request_timeout() -> Fault {
    Fault::framework("RequestTimeoutException", 408, Some("The request body did not arrive in time.".into()))
}

/// An operation that Lido does not have yet.
pub fn not_implemented(operation: &str) -> Fault {
    Fault::framework(NOT_IMPLEMENTED, 501, Some(format!("Lido does not implement {operation} yet.")))
}

/// Something inside an operation that Lido does not have yet: said, never skipped in silence.
pub fn feature_not_implemented(feature: &str) -> Fault {
    Fault::framework(NOT_IMPLEMENTED, 501, Some(format!("Lido does not implement {feature} yet.")))
}

/// Attested.
pub fn missing_authentication_token() -> Fault {
    Fault::framework("MissingAuthenticationTokenException", 400, Some("Missing Authentication Token".into()))
}

/// Attested.
pub fn unrecognized_client() -> Fault {
    Fault::framework(
        "UnrecognizedClientException",
        400,
        Some("The security token included in the request is invalid.".into()),
    )
}

/// Attested.
pub fn incomplete_signature(message: impl Into<String>) -> Fault {
    Fault::framework("IncompleteSignatureException", 400, Some(message.into()))
}

/// Attested for the wrong signature; the other texts are the framework's.
pub fn invalid_signature(message: impl Into<String>) -> Fault {
    Fault::framework("InvalidSignatureException", 400, Some(message.into()))
}

/// Attested.
pub fn wrong_signature() -> Fault {
    invalid_signature(
        "The request signature we calculated does not match the signature you provided. Check your AWS \
         Secret Access Key and signing method. Consult the service documentation for details.",
    )
}

/// Attested. `because`: `no identity-based policy allows the … action`, or the explicit deny.
pub fn access_denied(principal: &str, action: &str, resource: &str, explicit: bool) -> Fault {
    let reason = if explicit {
        "with an explicit deny in an identity-based policy".to_owned()
    } else {
        format!("because no identity-based policy allows the {action} action")
    };
    Fault::framework(
        "AccessDeniedException",
        400,
        Some(format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource} {reason}"
        )),
    )
}

/// Whether a code belongs to the layer below the operations: they need not declare it.
pub fn is_framework(code: &str) -> bool {
    const CODES: [&str; 9] = [
        "UnknownOperationException",
        "SerializationException",
        "NotImplementedException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "AccessDeniedException",
    ];
    CODES.contains(&code)
}

/// Nothing of the cause is told. Some operations have a code of their own for it. `None`: no operation was reached.
pub fn internal(facts: Option<&OperationFacts>) -> Fault {
    let own = ErrorCode::InternalServer;
    let code =
        if facts.is_some_and(|facts| facts.errors.contains(&own)) { own } else { ErrorCode::InternalError };
    Fault::new(code, "Internal error.")
}

/// Attested.
pub fn too_many_requests() -> Fault {
    Fault::new(ErrorCode::TooManyRequests, "Rate exceeded")
}

/// A violated constraint of the model, already worded; also every other parameter error.
pub fn invalid_parameter(message: impl Into<String>) -> Fault {
    Fault::new(ErrorCode::InvalidParameter, message)
}

fn not_authorized(message: impl Into<String>) -> Fault {
    Fault::new(ErrorCode::NotAuthorized, message)
}

// ---- Looking things up -----------------------------------------------------------------------

/// Attested.
pub fn pool_not_found(id: &str) -> Fault {
    Fault::new(ErrorCode::ResourceNotFound, format!("User pool {id} does not exist."))
}

/// Attested.
pub fn client_not_found(id: &str) -> Fault {
    Fault::new(ErrorCode::ResourceNotFound, format!("User pool client {id} does not exist."))
}

/// Measured: sign-in, the Admin operations, a token whose user is gone.
pub fn user_not_found() -> Fault {
    Fault::new(ErrorCode::UserNotFound, "User does not exist.")
}

/// Measured: confirmation and recovery.
pub fn username_client_combination_not_found() -> Fault {
    Fault::new(ErrorCode::UserNotFound, "Username/client id combination not found.")
}

/// Another request changed the same thing in between, more than once.
pub fn concurrent_modification() -> Fault {
    Fault::new(
        ErrorCode::ConcurrentModification,
        "The resource was changed by another request at the same time.",
    )
}

/// Attested.
pub fn secret_hash_missing(client: &str) -> Fault {
    not_authorized(format!("Client {client} is configured with secret but SECRET_HASH was not received"))
}

/// Attested; also for a hash sent to a client without a secret, where no text is known.
pub fn secret_hash_wrong(client: &str) -> Fault {
    not_authorized(format!("Unable to verify secret hash for client {client}"))
}

/// Attested: REFRESH_TOKEN_AUTH.
pub fn secret_hash_wrong_for_refresh(client: &str) -> Fault {
    not_authorized(format!("SecretHash does not match for the client: {client}"))
}

/// Attested.
pub fn user_disabled() -> Fault {
    not_authorized("User is disabled.")
}

/// Attested.
pub fn user_not_confirmed() -> Fault {
    Fault::new(ErrorCode::UserNotConfirmed, "User is not confirmed.")
}

/// Attested.
pub fn password_reset_required() -> Fault {
    Fault::new(ErrorCode::PasswordResetRequired, "Password reset required for the user")
}

/// Attested: counted requests and counted attempts.
pub fn attempt_limit_exceeded() -> Fault {
    Fault::new(ErrorCode::LimitExceeded, "Attempt limit exceeded, please try after some time.")
}

/// Inferred: a page token that is malformed, of another list, or too old.
pub fn invalid_pagination_token() -> Fault {
    invalid_parameter("Invalid pagination token.")
}

/// Attested by other servers of this protocol.
pub fn group_not_found() -> Fault {
    Fault::new(ErrorCode::ResourceNotFound, "Group not found.")
}

/// Attested by other servers of this protocol.
pub fn group_exists() -> Fault {
    Fault::new(ErrorCode::GroupExists, "A group with the name already exists.")
}

/// A quota without a code of its own: AdminAddUserToGroup does not declare LimitExceededException. The text
/// is Lido's.
pub fn too_many_groups_of_user(most: i64) -> Fault {
    invalid_parameter(format!("A user cannot be in more than {most} groups."))
}

/// Attested by another server of this protocol: AddUserPoolClientSecret.
pub fn too_many_client_secrets() -> Fault {
    Fault::new(ErrorCode::LimitExceeded, "Client secrets cannot exceed limit of 2 secrets.")
}

/// AddUserPoolClientSecret for a client that was made without a secret; the text is Lido's.
pub fn client_without_secret() -> Fault {
    invalid_parameter("Secrets cannot be added to an app client that was created without one.")
}

/// DeleteUserPoolClientSecret; the text follows that of other resources.
pub fn client_secret_not_found(id: &str) -> Fault {
    Fault::new(ErrorCode::ResourceNotFound, format!("Client secret {id} does not exist."))
}

/// DeleteUserPoolClientSecret; code and text are inferred.
pub fn last_client_secret() -> Fault {
    invalid_parameter("The last secret of an app client cannot be deleted.")
}

/// A resource quota, `app clients`.
pub fn quota_exceeded(what: &str) -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("The limit for {what} is exceeded."))
}

// ---- Access tokens ---------------------------------------------------------------------------

/// Measured.
pub fn invalid_access_token() -> Fault {
    not_authorized("Invalid Access Token")
}

/// Attested.
pub fn access_token_signature() -> Fault {
    not_authorized("Could not verify signature for Access Token")
}

/// Measured.
pub fn access_token_expired() -> Fault {
    not_authorized("Access Token has expired")
}

/// Attested.
pub fn access_token_revoked() -> Fault {
    not_authorized("Access Token has been revoked")
}

/// Attested.
pub fn access_token_scopes() -> Fault {
    not_authorized("Access Token does not have required scopes")
}

// ---- Sign-up and confirmation ----------------------------------------------------------------

/// Measured: SignUp.
pub fn user_already_exists() -> Fault {
    Fault::new(ErrorCode::UsernameExists, "User already exists")
}

/// Attested: AdminCreateUser.
pub fn user_account_already_exists() -> Fault {
    Fault::new(ErrorCode::UsernameExists, "User account already exists")
}

/// Attested: username attributes. `kind`: `email`, `phone_number`.
pub fn username_attribute_taken(kind: &str) -> Fault {
    Fault::new(ErrorCode::UsernameExists, format!("An account with the given {kind} already exists."))
}

/// Measured for email: an alias in use.
pub fn alias_exists(kind: &str) -> Fault {
    Fault::new(ErrorCode::AliasExists, format!("An account with the given {kind} already exists."))
}

/// Attested.
pub fn sign_up_not_permitted() -> Fault {
    not_authorized("SignUp is not permitted for this user pool")
}

/// Measured.
pub fn code_mismatch() -> Fault {
    Fault::new(ErrorCode::CodeMismatch, "Invalid verification code provided, please try again.")
}

/// Measured: expired, used, replaced or never requested.
pub fn expired_code() -> Fault {
    Fault::new(ErrorCode::ExpiredCode, "Invalid code provided, please request a code again.")
}

/// Attested.
pub fn user_cannot_be_confirmed(status: &str) -> Fault {
    not_authorized(format!("User cannot be confirmed. Current status is {status}"))
}

/// Attested.
pub fn user_already_confirmed() -> Fault {
    invalid_parameter("User is already confirmed.")
}

/// Attested.
pub fn no_auto_verification() -> Fault {
    not_authorized("Cannot resend codes. Auto verification not turned on.")
}

/// Attested. `taken`: the name that was asked for again.
pub fn resend_not_possible(username: &str) -> Fault {
    Fault::new(
        ErrorCode::UnsupportedUserState,
        format!("Resend not possible. {username} status is not FORCE_CHANGE_PASSWORD"),
    )
}

/// Attested: an address where the pool signs in by it as an alias.
pub fn username_of_alias_format(kind: &str) -> Fault {
    invalid_parameter(format!(
        "Username cannot be of {kind} format, since user pool is configured for {kind} alias."
    ))
}

/// Attested. `expected`: `an email`, `a phone number`, `either an email or a phone number`.
pub fn username_should_be(expected: &str) -> Fault {
    invalid_parameter(format!("Username should be {expected}."))
}

// ---- Attributes ------------------------------------------------------------------------------

/// Attested.
pub fn unauthorized_attribute_write() -> Fault {
    not_authorized("A client attempted to write unauthorized attribute")
}

/// Attested: several attributes follow each other.
pub fn required_attributes_missing(names: &[&str]) -> Fault {
    let missing: Vec<String> =
        names.iter().map(|name| format!("{name}: The attribute is required")).collect();
    invalid_parameter(format!("Attributes did not conform to the schema: {}\n", missing.join("\n")))
}

/// Attested: SignUp and AdminCreateUser with an unknown custom attribute.
pub fn attribute_type_undetermined(name: &str) -> Fault {
    invalid_parameter(format!(
        "Attributes did not conform to the schema: Type for attribute {{{name}}} could not be determined"
    ))
}

/// Measured: updates. The text ends with a newline.
pub fn attribute_not_in_schema(name: &str) -> Fault {
    invalid_parameter(format!("user.{name}: Attribute does not exist in the schema.\n"))
}

/// Attested by another server of this protocol: DeleteUserAttributes and its Admin twin.
pub fn removed_attributes_not_in_schema(names: &[&str]) -> Fault {
    let unknown: String =
        names.iter().map(|name| format!("user.{name}: Attribute does not exist in the schema.\n")).collect();
    invalid_parameter(format!("Invalid user attributes: {unknown}"))
}

/// Measured: an immutable attribute. The text ends with a newline.
pub fn attribute_not_mutable(name: &str) -> Fault {
    invalid_parameter(format!("user.{name}: Attribute cannot be updated.\n"))
}

/// Measured for the minimum. The text ends with a newline.
pub fn attribute_too_short(name: &str, least: usize) -> Fault {
    invalid_parameter(format!("user.{name}: String must be no shorter than {least} characters\n"))
}

/// Inferred from the minimum's text.
pub fn attribute_too_long(name: &str, most: usize) -> Fault {
    invalid_parameter(format!("user.{name}: String must be no longer than {most} characters\n"))
}

/// Inferred: a value that the attribute's type does not allow.
pub fn attribute_of_wrong_type(name: &str, expected: &str) -> Fault {
    invalid_parameter(format!("user.{name}: Attribute value must be {expected}\n"))
}

/// Measured.
pub fn attribute_value_null(name: &str) -> Fault {
    invalid_parameter(format!("Attribute value for {name} must not be null"))
}

/// The text is Lido's. No database that Lido stores in takes the character in every text.
pub fn attribute_null_character(name: &str) -> Fault {
    invalid_parameter(format!("Attribute value for {name} must not contain the character U+0000"))
}

/// Measured: `sub`, and the verified flags as a user.
pub fn attribute_non_mutable(name: &str) -> Fault {
    invalid_parameter(format!("Cannot modify the non-mutable attribute {name}"))
}

/// Measured.
pub fn invalid_email_format() -> Fault {
    invalid_parameter("Invalid email address format.")
}

/// Measured.
pub fn invalid_phone_format() -> Fault {
    invalid_parameter("Invalid phone number format.")
}

/// Attested: SignUp with `preferred_username` where that is an alias.
pub fn preferred_username_of_unconfirmed() -> Fault {
    invalid_parameter(
        "Preferred username cannot be provided for unconfirmed account, since user pool is configured for \
         preferred username alias.",
    )
}

/// Measured: GetUserAttributeVerificationCode and VerifyUserAttribute.
pub fn attribute_not_verifiable() -> Fault {
    invalid_parameter("Invalid attribute name. Only phone_number and email can be verified.")
}

/// Measured.
pub fn no_registered_address(attribute: &str) -> Fault {
    invalid_parameter(match attribute {
        "email" => "User does not have a valid registered email address",
        _ => "User does not have a valid registered phone number",
    })
}

/// Attested.
pub fn attributes_do_not_exist() -> Fault {
    invalid_parameter("One or more requested attributes do not exist.")
}

/// Attested by other servers of this protocol: a filter of ListUsers that is not `attribute op "value"`.
pub fn filter_syntax() -> Fault {
    invalid_parameter("Error while parsing filter")
}

/// Attested by another server of this protocol: ListUsers cannot search for this attribute.
pub fn not_searchable(name: &str) -> Fault {
    invalid_parameter(format!("Invalid search attribute: {name}"))
}

// ---- Passwords -------------------------------------------------------------------------------

/// Measured for `Password not long enough`; the others are attested.
pub fn password_policy(reason: &str) -> Fault {
    Fault::new(ErrorCode::InvalidPassword, format!("Password did not conform with policy: {reason}"))
}

/// Attested: AdminCreateUser words it otherwise.
pub fn admin_password_policy(reason: &str) -> Fault {
    Fault::new(ErrorCode::InvalidPassword, format!("Password did not conform with password policy: {reason}"))
}

/// The framework's text, for a password that no constraint of the model sees.
pub fn password_too_long(most: usize) -> Fault {
    invalid_parameter(format!(
        "1 validation error detected: Value at 'password' failed to satisfy constraint: Member must have length \
         less than or equal to {most}"
    ))
}

/// The type is the model's; no text is known.
pub fn password_history() -> Fault {
    Fault::new(
        ErrorCode::PasswordHistoryPolicyViolation,
        "The password has been used before and cannot be used again yet.",
    )
}

/// Attested.
pub fn no_recovery_channel() -> Fault {
    invalid_parameter(
        "Cannot reset password for the user as there is no registered/verified email or phone_number",
    )
}

/// Attested.
pub fn password_not_resettable() -> Fault {
    not_authorized("User password cannot be reset in the current state.")
}

/// Attested by other servers of this protocol.
pub fn contact_administrator() -> Fault {
    not_authorized("Contact administrator to reset password.")
}

// ---- Sign-in ---------------------------------------------------------------------------------

/// Attested.
pub fn wrong_credentials() -> Fault {
    not_authorized("Incorrect username or password.")
}

/// Attested: no full stop.
pub fn locked_out() -> Fault {
    not_authorized("Password attempts exceeded")
}

/// Attested.
pub fn temporary_password_expired() -> Fault {
    not_authorized("Temporary password has expired and must be reset by an administrator.")
}

/// Attested per flow.
pub fn flow_not_enabled(flow: &str) -> Fault {
    invalid_parameter(match flow {
        "USER_SRP_AUTH" | "CUSTOM_AUTH" => format!("{flow} is not enabled for the client."),
        "ADMIN_USER_PASSWORD_AUTH" | "ADMIN_NO_SRP_AUTH" => {
            "Auth flow not enabled for this client".to_owned()
        }
        _ => format!("{flow} flow not enabled for this client"),
    })
}

/// Attested by other servers of this protocol.
pub fn initiate_auth_not_supported() -> Fault {
    invalid_parameter("Initiate Auth method not supported.")
}

/// Attested.
pub fn missing_parameter(name: &str) -> Fault {
    invalid_parameter(format!("Missing required parameter {name}"))
}

/// Attested.
pub fn invalid_session() -> Fault {
    not_authorized("Invalid session for the user.")
}

/// Measured.
pub fn session_expired() -> Fault {
    not_authorized("Invalid session for the user, session is expired.")
}

/// Measured.
pub fn session_used() -> Fault {
    not_authorized("Invalid session for the user, session can only be used once.")
}

/// Inferred: the type is what a malformed parameter gets elsewhere.
pub fn invalid_srp_a() -> Fault {
    invalid_parameter("Invalid SRP_A parameter.")
}

/// Attested: an attribute that already has a value, in NEW_PASSWORD_REQUIRED.
pub fn attribute_already_provided(name: &str) -> Fault {
    not_authorized(format!("Cannot modify an already provided {name}"))
}

/// Attested.
pub fn custom_auth_not_configured() -> Fault {
    invalid_parameter("Custom auth lambda trigger is not configured for the user pool.")
}

/// Attested.
pub fn invalid_refresh_token() -> Fault {
    not_authorized("Invalid Refresh Token")
}

/// Inferred.
pub fn refresh_token_expired() -> Fault {
    not_authorized("Refresh Token has expired")
}

/// Measured.
pub fn refresh_token_revoked() -> Fault {
    not_authorized("Refresh Token has been revoked")
}

/// GetTokensFromRefreshToken with a token that was exchanged for another one; the text is inferred.
pub fn refresh_token_reused() -> Fault {
    Fault::new(ErrorCode::RefreshTokenReuse, "Refresh token has been invalidated")
}

/// GetTokensFromRefreshToken, which does not declare PasswordResetRequiredException; the code is inferred.
pub fn password_reset_required_to_refresh() -> Fault {
    not_authorized("Password reset required for the user")
}

/// GetTokensFromRefreshToken and GetClientToken: a secret that is missing, wrong or too many; the text is inferred.
pub fn client_secret_wrong(client: &str) -> Fault {
    not_authorized(format!("Unable to verify secret for client {client}"))
}

/// GetClientToken: none of the scopes that are asked for is one that the client may have; the text is that of
/// app clients with an unknown scope.
pub fn scopes_not_allowed(scopes: &[String]) -> Fault {
    invalid_parameter(format!("Invalid scope requested: {}", scopes.join(" ")))
}

/// RevokeToken on something that is not a refresh token; the text is inferred.
pub fn unsupported_token_type() -> Fault {
    Fault::new(ErrorCode::UnsupportedTokenType, "The token type is not supported: pass a refresh token.")
}

/// RevokeToken on a client without token revocation; the text is inferred.
pub fn revocation_not_enabled() -> Fault {
    Fault::new(ErrorCode::UnsupportedOperation, "Token revocation is not enabled for this user pool client.")
}

/// RevokeToken with a bad client or secret; the text is inferred.
pub fn unauthorized_client() -> Fault {
    Fault::new(ErrorCode::Unauthorized, "The client or its secret is not valid.")
}

// ---- Multi-factor authentication -------------------------------------------------------------

/// Measured: a wrong code of SMS_MFA or EMAIL_OTP.
pub fn code_or_auth_state_mismatch() -> Fault {
    Fault::new(ErrorCode::CodeMismatch, "Invalid code or auth state for the user.")
}

/// Attested: a wrong code of SOFTWARE_TOKEN_MFA. No full stop.
pub fn software_token_mismatch() -> Fault {
    Fault::new(ErrorCode::CodeMismatch, "Invalid code received for user")
}

/// Measured: a second use of a code, or of one before it.
pub fn software_token_used() -> Fault {
    Fault::new(ErrorCode::ExpiredCode, "Your software token has already been used once.")
}

/// Documented.
pub fn software_token_not_enabled() -> Fault {
    Fault::new(ErrorCode::SoftwareTokenMFANotFound, "Software Token MFA has not been enabled by the userPool")
}

/// Attested: VerifySoftwareToken with a wrong code, or with nothing to verify.
pub fn software_token_not_verified() -> Fault {
    Fault::new(ErrorCode::EnableSoftwareTokenMFA, "Code mismatch and fail enable Software Token MFA")
}

/// Inferred: the type of the model's other rules on members.
pub fn access_token_or_session() -> Fault {
    invalid_parameter("Either AccessToken or Session is required, not both.")
}

/// Attested: a factor that the user has no address or no verified token for.
pub fn no_delivery_config(factor: &str) -> Fault {
    invalid_parameter(format!("User does not have delivery config set to turn on {factor}"))
}

/// The rule is the model's; the text is Lido's.
pub fn several_preferred_factors() -> Fault {
    invalid_parameter("Only one MFA factor can be preferred.")
}

/// The rule is the model's; the text is Lido's.
pub fn preferred_factor_not_enabled(factor: &str) -> Fault {
    invalid_parameter(format!("{factor} must be enabled to be preferred."))
}

/// The operation is withdrawn; the text is Lido's.
pub fn only_sms_mfa_option() -> Fault {
    invalid_parameter("MFAOptions takes only the DeliveryMedium SMS with the AttributeName phone_number.")
}

/// The type is the service's; the text is Lido's.
pub fn mfa_type_not_offered() -> Fault {
    invalid_parameter("The answer is not one of the MFA factors that can be chosen.")
}

/// The text is Lido's: MFA_SETUP is answered before anything is set up.
pub fn nothing_set_up() -> Fault {
    invalid_parameter("No MFA factor has been set up in this session.")
}

/// The text is Lido's: MFA is required, and the user has no factor and can set none up.
pub fn no_second_factor() -> Fault {
    invalid_parameter("User has no MFA factor that this user pool accepts, and none can be set up.")
}

/// Attested.
pub fn mfa_off_with_factors() -> Fault {
    invalid_parameter("Invalid MFA configuration given, can't turn off MFA and configure an MFA together.")
}

/// Inferred.
pub fn mfa_without_factors() -> Fault {
    invalid_parameter("Invalid MFA configuration given, at least one MFA must be configured to turn on MFA.")
}

/// The rule is documented; the text is Lido's.
pub fn email_mfa_needs_developer_account() -> Fault {
    invalid_parameter("EmailMfaConfiguration requires the EmailSendingAccount DEVELOPER.")
}

// ---- Messages and functions ------------------------------------------------------------------

/// Attested for e-mail; the SMS text follows it.
pub fn code_delivery_failed(medium: lido_domain::Medium) -> Fault {
    Fault::new(
        ErrorCode::CodeDeliveryFailure,
        match medium {
            lido_domain::Medium::Email => "Invalid email provided/Unable to send the email",
            lido_domain::Medium::Sms => "Invalid phone number provided/Unable to send the SMS message",
        },
    )
}

/// Attested, except for the time-out's second half, which is reported.
pub fn trigger_failed(trigger: &str, error: &InvokeError) -> Fault {
    match error {
        InvokeError::Function { message } => {
            Fault::new(ErrorCode::UserLambdaValidation, format!("{trigger} failed with error {message}."))
        }
        InvokeError::Unreachable { code } => Fault::new(
            ErrorCode::UnexpectedLambda,
            format!("{trigger} invocation failed due to error {code}."),
        ),
        InvokeError::Timeout => Fault::new(
            ErrorCode::UnexpectedLambda,
            format!(
                "{trigger} invocation failed due to error Socket timeout while invoking Lambda function."
            ),
        ),
        InvokeError::NotJson => {
            Fault::new(ErrorCode::InvalidLambdaResponse, "Invalid lambda function output : Invalid JSON")
        }
    }
}

/// Reported: a sign-in of an unknown user whom the UserMigration function could not bring in.
pub fn migration_failed(client: &str) -> Fault {
    Fault::new(ErrorCode::UserNotFound, format!("Exception migrating user in app client {client}"))
}

/// Attested: an answer that is not the event with a usable response.
pub fn unrecognizable_lambda_output() -> Fault {
    Fault::new(ErrorCode::InvalidLambdaResponse, "Unrecognizable lambda output")
}

/// Attested by one client.
pub fn lambda_changed_username() -> Fault {
    Fault::new(
        ErrorCode::InvalidLambdaResponse,
        "Invalid user name. User name in Lambda mismatches the actual username.",
    )
}

// ---- Configuration ---------------------------------------------------------------------------

/// Attested by other servers of this protocol.
pub fn deletion_protected() -> Fault {
    invalid_parameter(
        "The user pool cannot be deleted because deletion protection is activated. Deletion protection must \
         be inactivated first.",
    )
}

/// The code is documented; the text is Lido's.
pub fn feature_unavailable_in_tier(feature: &str, tier: &str) -> Fault {
    Fault::new(
        ErrorCode::FeatureUnavailableInTier,
        format!("{feature} is not available in the {tier} feature plan of this user pool."),
    )
}

/// The code is documented; texts attested where they are known.
pub fn invalid_oauth_flow(message: impl Into<String>) -> Fault {
    Fault::new(ErrorCode::InvalidOAuthFlow, message)
}

/// The code is documented; the text is Lido's.
pub fn scope_does_not_exist(scope: &str) -> Fault {
    Fault::new(ErrorCode::ScopeDoesNotExist, format!("Invalid scope requested: {scope}"))
}

/// The code is documented; the text is Lido's.
pub fn tagging(message: impl Into<String>) -> Fault {
    Fault::new(ErrorCode::UserPoolTagging, message)
}

/// The code is documented; the text is Lido's.
pub fn tier_change_not_allowed(feature: &str, tier: &str) -> Fault {
    Fault::new(
        ErrorCode::TierChangeNotAllowed,
        format!("The user pool uses {feature}, which the {tier} feature plan does not have."),
    )
}

/// Attested.
pub fn sms_required_for_mfa() -> Fault {
    invalid_parameter(
        "SMS configuration and Auto verification for phone_number are required when MFA is required/optional",
    )
}

/// Attested.
pub fn unused_account_validity_days() -> Fault {
    invalid_parameter(
        "Please use TemporaryPasswordValidityDays in PasswordPolicy instead of UnusedAccountValidityDays",
    )
}

/// Attested by other servers of this protocol.
pub fn required_custom_attribute() -> Fault {
    invalid_parameter("Required custom attributes are not supported currently.")
}

/// Attested, except for the part before the colon, which is from other servers of this protocol.
pub fn schema_attribute_exists(name: &str) -> Fault {
    invalid_parameter(format!("{name}: Existing attribute already has name {name}."))
}

/// Attested by other servers of this protocol.
pub fn standard_attribute_changed(name: &str) -> Fault {
    invalid_parameter(format!(
        "You can not change AttributeDataType or set developerOnlyAttribute for standard schema attribute {name}"
    ))
}

/// Attested by other servers of this protocol. `kind`: `String` or `Number`.
pub fn schema_constraints_invalid(kind: &str, name: &str) -> Fault {
    invalid_parameter(format!("Invalid {kind}AttributeConstraints for schema attribute {name}"))
}

/// Attested by other servers of this protocol for lengths. `what`: `length` or `value`.
pub fn schema_maximum_below_minimum(name: &str, what: &str) -> Fault {
    invalid_parameter(format!("user.{name}: Max {what} cannot be less than min {what}."))
}

/// Attested by other servers of this protocol.
pub fn schema_length_too_long(name: &str) -> Fault {
    invalid_parameter(format!("user.{name}: String attributes cannot have a length of more than 2048"))
}

/// Attested.
pub fn provider_not_found(provider: &str, pool: &str) -> Fault {
    invalid_parameter(format!("The provider {provider} does not exist for User Pool {pool}."))
}

/// Attested.
pub fn client_credentials_without_secret() -> Fault {
    invalid_oauth_flow("client_credentials flow can not be selected if client does not have a client secret.")
}

/// Inferred.
pub fn client_credentials_not_alone() -> Fault {
    invalid_oauth_flow("client_credentials flow can not be selected along with code flow or implicit flow.")
}

/// Attested; the code is uncertain.
pub fn oauth_flows_and_scopes_required() -> Fault {
    invalid_oauth_flow(
        "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.",
    )
}

/// Inferred.
pub fn token_validity_out_of_range() -> Fault {
    invalid_parameter("Invalid range for token validity.")
}

/// Inferred. `which`: `read` or `write`.
pub fn client_attributes_invalid(which: &str) -> Fault {
    invalid_parameter(format!("Invalid {which} attributes specified while creating a client"))
}
