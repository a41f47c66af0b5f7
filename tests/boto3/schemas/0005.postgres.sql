SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.app_clients (
    id text NOT NULL COLLATE pg_catalog."C",
    pool_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    settings text NOT NULL,
    sealed_secret bytea,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.codes (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    sub text NOT NULL COLLATE pg_catalog."C",
    purpose text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    target text NOT NULL COLLATE pg_catalog."C",
    expires_ms bigint NOT NULL,
    attempts bigint NOT NULL
);
CREATE TABLE public.data_keys (
    id text NOT NULL COLLATE pg_catalog."C",
    generation bigint NOT NULL,
    made_for text NOT NULL COLLATE pg_catalog."C",
    active_ms bigint,
    retired_ms bigint
);
CREATE TABLE public.deleted_pools (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    deleted_ms bigint NOT NULL
);
CREATE TABLE public.group_members (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    group_name text NOT NULL COLLATE pg_catalog."C",
    sub text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.groups (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    description text,
    role_arn text,
    precedence bigint,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.hourly_counts (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    window_ms bigint NOT NULL,
    count bigint NOT NULL
);
CREATE TABLE public.inbox (
    id text NOT NULL COLLATE pg_catalog."C",
    created_ms bigint NOT NULL,
    pool_id text NOT NULL COLLATE pg_catalog."C",
    username text NOT NULL COLLATE pg_catalog."C",
    destination text NOT NULL COLLATE pg_catalog."C",
    medium text NOT NULL COLLATE pg_catalog."C",
    sealed bytea NOT NULL
);
CREATE TABLE public.installation (
    name text NOT NULL COLLATE pg_catalog."C",
    value bytea NOT NULL
);
CREATE TABLE public.lockouts (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    failures bigint NOT NULL,
    last_failure_ms bigint NOT NULL,
    locked_until_ms bigint NOT NULL
);
CREATE TABLE public.outbox (
    id text NOT NULL COLLATE pg_catalog."C",
    pool_id text NOT NULL COLLATE pg_catalog."C",
    medium text NOT NULL COLLATE pg_catalog."C",
    sealed bytea NOT NULL,
    attempts bigint NOT NULL,
    due_ms bigint NOT NULL,
    leased_until_ms bigint NOT NULL,
    dead_ms bigint,
    last_error text NOT NULL
);
CREATE TABLE public.redeemed (
    digest bytea NOT NULL,
    expires_ms bigint NOT NULL
);
CREATE TABLE public.schema_migrations (
    version bigint NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_ms bigint NOT NULL
);
CREATE TABLE public.signing_keys (
    kid text NOT NULL COLLATE pg_catalog."C",
    pool_id text NOT NULL COLLATE pg_catalog."C",
    token_use text NOT NULL COLLATE pg_catalog."C",
    modulus text NOT NULL,
    sealed_private bytea NOT NULL,
    created_ms bigint NOT NULL,
    active_ms bigint,
    retired_ms bigint
);
CREATE TABLE public.token_sessions (
    digest bytea NOT NULL,
    pool_id text NOT NULL COLLATE pg_catalog."C",
    origin_jti text NOT NULL COLLATE pg_catalog."C",
    client_id text NOT NULL COLLATE pg_catalog."C",
    sub text NOT NULL COLLATE pg_catalog."C",
    auth_time_ms bigint NOT NULL,
    scope text NOT NULL,
    expires_ms bigint NOT NULL,
    revoked_ms bigint
);
CREATE TABLE public.user_names (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    sub text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.user_pools (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    settings text NOT NULL,
    tags text NOT NULL,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.user_search (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    attribute text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C",
    sub text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.users (
    pool_id text NOT NULL COLLATE pg_catalog."C",
    sub text NOT NULL COLLATE pg_catalog."C",
    username text NOT NULL COLLATE pg_catalog."C",
    attributes text NOT NULL,
    pending text NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    enabled bigint NOT NULL,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    password bytea,
    password_set_ms bigint NOT NULL,
    password_history bytea,
    signed_out_ms bigint NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.wrapped_keys (
    name text NOT NULL COLLATE pg_catalog."C",
    master text NOT NULL COLLATE pg_catalog."C",
    wrapped bytea NOT NULL
);
INSERT INTO public.app_clients VALUES ('gixbzsajthfp9iac957h8b1jm9', 'us-east-1_FG2JA4Y0O', 'web', '{"AllowedOAuthFlowsUserPoolClient":false,"AuthSessionValidity":3,"EnablePropagateAdditionalUserContextData":false,"EnableTokenRevocation":true,"ExplicitAuthFlows":["ALLOW_USER_PASSWORD_AUTH","ALLOW_USER_SRP_AUTH","ALLOW_REFRESH_TOKEN_AUTH","ALLOW_ADMIN_USER_PASSWORD_AUTH"],"RefreshTokenValidity":3650,"TokenValidityUnits":{"AccessToken":"hours","IdToken":"hours","RefreshToken":"days"}}', '\x012328cc8baaf60ff665d5af5f84d152e7d05e1b00eb54d8dee854c62ad0abf1dbd18e74dac7f35974cd9678662845d8d793a33507429025f01b05ad2138ccb46ebb74727f29b3bf03984080f423a04b403d6d06e076cfe9b9746202474f9d22aa08702be4', 1795397546265, 1795397546265, 643613703206);
INSERT INTO public.app_clients VALUES ('qabtw194ar4tktedivko21xfn1', 'us-east-1_FG2JA4Y0O', 'public', '{"AllowedOAuthFlowsUserPoolClient":false,"AuthSessionValidity":3,"EnablePropagateAdditionalUserContextData":false,"EnableTokenRevocation":true,"ExplicitAuthFlows":["ALLOW_USER_PASSWORD_AUTH","ALLOW_USER_SRP_AUTH","ALLOW_REFRESH_TOKEN_AUTH","ALLOW_ADMIN_USER_PASSWORD_AUTH"],"RefreshTokenValidity":3650,"TokenValidityUnits":{"AccessToken":"hours","IdToken":"hours","RefreshToken":"days"}}', NULL, 1795397546276, 1795397546276, 61561183125);
INSERT INTO public.data_keys VALUES ('2328cc8baaf60ff6', 1, '5f81553f63de1527c84b2f8c41964ccb', 1795397547637, NULL);
INSERT INTO public.group_members VALUES ('us-east-1_FG2JA4Y0O', 'admins', '6ab9a326-9afc-4569-9b92-5597bffb8f19');
INSERT INTO public.groups VALUES ('us-east-1_FG2JA4Y0O', 'admins', NULL, NULL, 1, 1795397546400, 1795397546400, 275790510284);
INSERT INTO public.schema_migrations VALUES (0, 'lock', '', 0);
INSERT INTO public.schema_migrations VALUES (1, 'pools', '52739ef9862f5e094cbc4c8088374c7aecf1b047db4bc9fdd4e07304e7e22b49', 1795397547552);
INSERT INTO public.schema_migrations VALUES (2, 'users', 'b204ebe0345ef3f3278508069d6dc64e48a7186cf66da388d79c5d80cc7215bb', 1795397547563);
INSERT INTO public.schema_migrations VALUES (3, 'credentials', 'b886f168cfa4a9be848ceb906877639990a64764d2d92b4a5109dcebeb2445d8', 1795397547577);
INSERT INTO public.schema_migrations VALUES (4, 'messages', '782641e616f3fabdd7779325b704c0a31b76fe5831a813cd10f536b286ccea7c', 1795397547582);
INSERT INTO public.schema_migrations VALUES (5, 'groups', '93aedfca614cc8d194f84b0e4e37bb7e142fa178d7a2ff710f0d86f33751ac76', 1795397547586);
INSERT INTO public.signing_keys VALUES ('EMtHGS5YVR2gLm2bnKI4FHRI/DeOTrKEz/GU+blIeI8=', 'us-east-1_FG2JA4Y0O', 'access', 'uKJ7t0A1h3NhDCf7M7XIJpvj8LI7jLGfYbOIRObWZq4G9qlJzPdimCZAEJBAwEFhyPVxobshUSYb4i3H3Arnkbn3Hen4FKJsVo9mdkNuXmga-Oc3qqAU4WU9ViqK7VGLaGj7jboMIpkPAg8uoA5SEr_7bcMZB-A4zKzq-v83ktkxF913RCjDADbc70rGACfTGbFYUfsQREhf9OI8VSIthDLzSMPzRkvz6y2GWSWTsfbpmw7Hn392dzrQ4qdzWzaTNQ8TMrwP2NAwNfYW3ME8y5_bRkJO_vfoNdUDZzM3gBXOQdewqiZnG_tTepKKAAUEpc7aG6RDlLN5I08DVkqk1w', '\x012328cc8baaf60ff62015b59819dbc8fc3bfedbbfe12260688faadfecc5d406586e716db98285eab221ef0c7be1f3a5b679b7f1a13a8897cf7b8dd0229260101e82288f0a694890989ff5cefe89319b7b2fe143afb592eec9feac0bc06d5c364585ae3b52a61837f7077c50667e685a8445b23c3e9e68209070cd7726203a3f0df8397028c15e8714adac26cf751b7be0ef305d7437b95644f4f5edcf83601bb23e2bded2bf9effe115bb4ba8de292922813582dcb4ad8449805bc4146b5e414e62714aa981d0915afe8c2f8a08f53fc0847ce53a46d2e22dc8165cb88e5e751a24d82238dcbc5d7e45eecfba3fcc20f5f6f1c2954c71c398fbb5ede21dcbefdeab7cf0e8e3b7eec734b8a5a9be43a8ff3397553c91fb02d1a430a2c2828cc72d99329f5eecc88fa6ac6d7ad53f3f0bace3ead65da54c758e97ee861f5e7c2062d5ba595a5b4b08a472821bb38f0a8599eecf47b2e5d29657c030789cb41d42d9d2737d2942f39d7ae0cad1d0d280255272c3ac930186964ac3b44cd1ad9a291ad7a3a45414f7e0411d6c880a076c541992dfab1cae36302e994478b686fff2dca10ce2c883e22169ff8860fee9927a455979d4787ebc73194550335e252bf91a24383cb4a8af1b907733238cee32c85b8f6ac71753f5710ff5bce3b873662b4d538f3f48284f5ee9dd75fd87c5f65aada8ba45fa677d46058268cb34c4865be9ed75b4ef86d556483abe227460a9ead55443f1732ef2bbc72af1e0c375869d240485c18f5db242c94c94be0138451cf36152aa8468a3024e9b6cc25155e1ee34efb0e2e6de6fc9ff39137e29e491363eda13a93ed17ae1ac362c6657888fb7a06a68243ec8db1603c811aae0d285a831b351babe66aaf2bc43cfbe953c8bfae5322b3fd384851b23fd840beb46ba200b84301a7ab8dcd3d7fe037304c6b53bbb1dce7c72002ca37a3e443e1611538f276e6dd89a201935c5cf3a2ffb61e96c8439a50cfd392d77fedf4fc6b7a420a77663935d4ffc1ee8855ca131026465f32a16a22da9c50daae2c332631cf2473a7c3e86203302aeedf4fc79342200a265ca8ecc4044397b1721fce60626f5285ef1c96fe3c733bb671822462c6f190a1e80b6ee24d84f3ce852b4248675f0cecae81e87e794f341a2a7ec64497894dc53b6f1764b707938e243a7beb8f264c1731dd6bc6788415dfe29c60b15b4a9629edc4513559e2c87183a7b20d178fa111fcf96dea6c41e88ff6068aa9f2ac567264d8d32ef744a39459d254ed8eef0a2103fc8e297ed326c2b453221de2ee0a6420e0d0482e0e200c9dedd39659562583ef687b21de9e1a5937566360ed9e0a8eaff4c2f982b0495ec75e6909b7dd73ba767149d1a5786729b270b7b2a6e2e4105a3378d11c20bf98cff441c828f71a3ecc868583ceeefdffd4e4e97cd4c92028670f02a19a56b55929f075d9877664f7cd37c3d044e45c8f208f73853a35b63d8d93d98d84cee169b7a4f10c6699d7bdfd9fc89599b889b4d1a8c19db3b23708b156ba0bb75c48f2eafd78d517e7311b31a6f2bd6eaaa1d679356785dc3ac25dbc8c7924808ef5213793ae29324d5d30ec2603b8be333c55e83f2e446dcf73c08eb0d26c87f96f850ff8b28aa930e9b6e7d80dca759f3323b385bbfc12981bc513202c12b4744450d3816fde942ddda072aebc602e38943db879976118a99615430a15699e770bf082617f85eb327611c74fbf3eb440bc1fa428704215308c204eafded82629f1020e2d5c139f78533bf365937ef', 1795397546940, 1795397546940, NULL);
INSERT INTO public.signing_keys VALUES ('QXiEtIxRpwmFZA3wI9B4p9/ntsrbFRK/JjQgyRMcUG8=', 'us-east-1_FG2JA4Y0O', 'id', '3lvQ5XA2Ow_gKPO1wZbkiU7DY6qgKysKPpHl8I55Uk0G2AQ1f9hO3g1E6ALaCD__hSuXccFSpLIACogGtVaW8FKt4810MhFzk8K8xTO9f2prjOe5KD6LVdRLRMQdfYvN-XqC1knRP1UgndIExbet3EoIqUlLV3WLwPrgQBifIA7HIB_pGIXABaDk0C33-u8YPCsdUHEfax_EPH2dWpmpRgCsFou-_kxzvQSoKcq7CfC0vmpmdIJGnvM-OyPQbqGxAclr69s3GG6Tr6tmhfxsXql6hKOpR5rySaSZfhnr_uS10h_lvlAWVfiRUh6oWzHHcpFv4vDGRjKgYKZgNRycNQ', '\x012328cc8baaf60ff6e83caa983fe24c5e6eb71ed53175473d2fb2090bb27b3e0757538ca8708ac7d935e7059315a6aca4a50384f6e49bd8dc0d317b5d799aeff6c0a73d3152243dc27c7081a01cd6a97f7fced3d5984433994871bad8174eb97652a1247ea95bbfb4118ab3ea8782a5e1674668e53833a1962affcec6d55ce8d8d19dc27a6c515c2644d5255d3eb0cc9a5232e6494c8fa6e7d4ebbd8a0e961f060ca27eeac44f193b4d31a70c65eb8f4e9eb4a565ab397cccfa84a477c961b2c6ceed830bad9e1dbea9b7ece2e5b84c183c16c91d2a56f6e92a108d7763f14ea36e8d0456de2c5ebb2a3768909f47b532868078e75cd88f09d576ae190dd6e3dc1f68394822621e57d38563b034917b3d4b1847cd1dff7e245e5c9f912f7f181001160cff4606dea6f0f9db1cd35f0beb8309ebef2e58cd0a4d5b15e68f535abe1583bd48afeb25917b4a7e697458798f24084847c7ad318a3afbaf836287e1c6222e30539ada5af4f18e00f54609e770477951495138afaec273989fe312b6ec20e9d0455fad4a0feeb8da656c48ccc9d49c5202221f0eb050d366544f2bb68e830766018628cbf57c9666dfba7d0cffa41bb48ec2c72ca04337dcf79fcc9d2f789125e03fcc5b94bf8bce4f02d1388024e20f16186a58d2c630567c0d77549b385d6838428a358906d3e98a2ab7fd06221af785fce77cea61f244046ab278846e15c7fdede39e03268fc38d6d3f303a41d039d1cac67974ebfc7db4b46dc37d80b2f0c71564bc07fc0ce655da529d7915ab8e2b36809da7e1ee8509764c06c35b9255cc97fad6d3949c4ddf4e2023631acc4f7bcd0b11ea75178bc2fbf54b2fe52d3d9dba996ab3e0579753036d6008d05d0a3864829468f76110992ce7627565a56135198cca4770bdf3fb3b7042c82ffa40e1c6a9318642039ef76b29edeefc2f49ac408dd60ac46fa89df6f4543225af4c66386bdccf569bd94806cb0b7b6b68f5e7d31db291d218012b76701badf23473c55bdd60c40ec8a3a23e0d8deff1bb596e3a5b7da3468766efaee60a16f32c47e8116f08e555728592f9ba014b585118cfd9baad53c8be3e85421c4905f3d31c20796200de3ddc13b89f1118d2a6ffdec8522d147b4eb53dc9f07a8e29462c94b78be88641a6ea48f4e2ca9e63a18d3d426347f3bee08db30a5a5593167b8f2cc1e62e7235f14a968315c3b6085996fa95b27532ca2cd2afd137a089f90813f5ba6de955a41d590e620f14aca4d19081e155d05ec0249ba6b2a0f089100d7136af507be82fa76edb70d3b70c5637b6a6d487c791aed76bac5f403f571b8594828d0c9426c0a24ae1ca4728e86bc01eb675ee9e51f2a07194bceb21cf5df8f41ebe3d7893e196ae428784eb9fe43e891d2985211e1ed18a16b93215c23b183ec721856b871e8d12eac8536a5dbb177295bb40105c9dd97fd3e09f3fe9bbf11459c2b570273270f5a777d185fdee24984ac7a272769c27fef5ec81ef69311e9c1fc405e5960ee3d9397ef95e95598c07dbf9b4dc5577c46800f221d315ebf518b77d596d3bb3cc0b93f2c364f8843f5244d17c93acfe5eda26f670bd55ab6e7bca631be2702d2a9541a3e4c542b35797a3c27881e298720d629ef92c1bb4306018dc2a265d2e671ef29b78998426030ce87f994582fe0038404ba2484dc6a430d59c9902dc56aa7dd9efa27127e883a39313f81ab347af42daaed01553ffb1773822edd5c2982918adde752eb5fa201760203872c1f9b778e1e165db6f9994f1', 1795397546940, 1795397546940, NULL);
INSERT INTO public.token_sessions VALUES ('\x553d481bf88dc11f6ab5b0c3c133a6876e24dee5ae01af8691126042be2fca89', 'us-east-1_FG2JA4Y0O', '3e4447a4-f794-414c-a7ae-b422c7880034', 'qabtw194ar4tktedivko21xfn1', '6ab9a326-9afc-4569-9b92-5597bffb8f19', 1795397546436, 'aws.cognito.signin.user.admin', 2110757546436, NULL);
INSERT INTO public.user_names VALUES ('us-east-1_FG2JA4Y0O', 'ana', 'username', '6ab9a326-9afc-4569-9b92-5597bffb8f19');
INSERT INTO public.user_names VALUES ('us-east-1_FG2JA4Y0O', 'ana@example.com', 'email', '6ab9a326-9afc-4569-9b92-5597bffb8f19');
INSERT INTO public.user_names VALUES ('us-east-1_FG2JA4Y0O', 'bo', 'username', '6b50a701-c81b-4187-a01f-fa5a0cf71c6e');
INSERT INTO public.user_names VALUES ('us-east-1_FG2JA4Y0O', 'bo@example.com', 'email', '6b50a701-c81b-4187-a01f-fa5a0cf71c6e');
INSERT INTO public.user_names VALUES ('us-east-1_FG2JA4Y0O', 'cy', 'username', '06d2269e-2018-47ea-ba4a-7487f502d694');
INSERT INTO public.user_pools VALUES ('us-east-1_FG2JA4Y0O', 'released', '{"AccountRecoverySetting":{"RecoveryMechanisms":[{"Name":"verified_email","Priority":1},{"Name":"verified_phone_number","Priority":2}]},"AcrConfiguration":{"Level1":{"AcrValue":"urn:cognito:loa:1"},"Level2":{"AcrValue":"urn:cognito:loa:2"},"Level3":{"AcrValue":"urn:cognito:loa:3"},"Level4":{"AcrValue":"urn:cognito:loa:4"}},"AdminCreateUserConfig":{"AllowAdminCreateUserOnly":false,"UnusedAccountValidityDays":7},"AliasAttributes":["email","preferred_username"],"AutoVerifiedAttributes":["email"],"DeletionProtection":"INACTIVE","EmailConfiguration":{"EmailSendingAccount":"COGNITO_DEFAULT"},"LambdaConfig":{},"MfaConfiguration":"OFF","Policies":{"PasswordPolicy":{"MinimumLength":8,"RequireLowercase":true,"RequireNumbers":true,"RequireSymbols":true,"RequireUppercase":true,"TemporaryPasswordValidityDays":7},"SignInPolicy":{"AllowedFirstAuthFactors":["PASSWORD"]}},"SchemaAttributes":[{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":false,"Name":"sub","Required":true,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"1"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"name","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"given_name","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"family_name","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"middle_name","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"nickname","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"preferred_username","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"profile","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"picture","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"website","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"email","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"Boolean","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"email_verified","Required":false},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"gender","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"birthdate","Required":false,"StringAttributeConstraints":{"MaxLength":"10","MinLength":"10"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"zoneinfo","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"locale","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"phone_number","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"Boolean","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"phone_number_verified","Required":false},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"address","Required":false,"StringAttributeConstraints":{"MaxLength":"2048","MinLength":"0"}},{"AttributeDataType":"Number","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"updated_at","NumberAttributeConstraints":{"MinValue":"0"},"Required":false},{"AttributeDataType":"String","DeveloperOnlyAttribute":false,"Mutable":true,"Name":"custom:tenant","Required":false,"StringAttributeConstraints":{}}],"UserPoolTier":"ESSENTIALS","VerificationMessageTemplate":{"DefaultEmailOption":"CONFIRM_WITH_CODE"}}', '{}', 1795397546238, 1795397546238, 491559669855);
INSERT INTO public.user_search VALUES ('us-east-1_FG2JA4Y0O', 'email', 'ana@example.com', '6ab9a326-9afc-4569-9b92-5597bffb8f19');
INSERT INTO public.user_search VALUES ('us-east-1_FG2JA4Y0O', 'given_name', 'ana €', '6ab9a326-9afc-4569-9b92-5597bffb8f19');
INSERT INTO public.user_search VALUES ('us-east-1_FG2JA4Y0O', 'email', 'bo@example.com', '6b50a701-c81b-4187-a01f-fa5a0cf71c6e');
INSERT INTO public.users VALUES ('us-east-1_FG2JA4Y0O', '06d2269e-2018-47ea-ba4a-7487f502d694', 'cy', '{}', '{}', 'FORCE_CHANGE_PASSWORD', 1, 1795397546375, 1795397546375, '\x012328cc8baaf60ff6a7030f6aa8c83b4777aecd2973422950dc270e5267d449c7c4e0c28d10307f4d7b9ca6fbe517c0a6b8ed160719a44aab57daa685fc2740ffca60445cf4afc5eaa5055d77f19a036ae7dcb431b610c3272337ee9242571075ec5bec01f8782a03def2f32efa4c0ab680d6fbde7e9af2c30f72765a0e65c79d2a84db68c5a4469e28a7869a9e52120aa3132ff6d74f27536a66b4648ad69ad67ce8e8b5eee3f28c327b5c660af16aa5cfef04bc5b457b6cba2d8951b3358df9974a876f123a7730c8e56ce7501a72f436e531bd06eb1f4de3d818fddcb8efb5d93b5a60219c1c59797e71c28bcdcaeda8beb78cfdcd5d3c89e5221699c2a4d0b130395243d1e44c1b14799ce4c221f5baf717e4ed48f5e44fe25d95502bb6d1635d41baaf5962a2f123d5744f31167a4ce58669ab589d5c2d4bf32bc8586ff1e2d4086e922402d51e23fef393e7c2b98270e8fa1ae80187659e2dd616e92074f16d2baf1ad4a93f8114fd05667716c38914a62c32e27fdffbe76cedea53cf8779c9f5b6500bdbac42d9cbe833134b56fde2bd8d4c3bcedf1cbc229e18a6277e32f57addb410ea87495fcba4a2fb95000cd24ccad7c7524f0f8e6b2afc6790c65ffc', 1795397546375, NULL, 0, 1);
INSERT INTO public.users VALUES ('us-east-1_FG2JA4Y0O', '6ab9a326-9afc-4569-9b92-5597bffb8f19', 'ana', '{"custom:tenant":"t-1","email":"ana@example.com","email_verified":"true","given_name":"Ana €"}', '{}', 'CONFIRMED', 1, 1795397546292, 1795397546314, '\x012328cc8baaf60ff64e232a46d3dbf5d8f31dd2e5c0dbf53bdbf97fd9148d24e8617e296c1812e14e1e7ad3b6892ce16d5ac07d2f88fa0be069d0f5defe4fe794661caae00f2b82e03b9ec8604a2a8ce38fc54c68388d5454af11a7cf3c0c2a86bcd82ad69cc62753e795b36616bc53fa1b4e932fa98777db386192731d6de4ce9467c82dd274b4ad6e08786306e29beb396e69727cd08dd6aac0245c718d3e1cae84e61be0007556ea3596a91db0fdb890f18aa3bfede81fcdc259f7b04ec03d6d59fa94d7abe1f073b52de486d972e1c267eeca92ebbc44bd37067b29ccbbe9b8d64db8fed14247f3e1f2baccf4da2f396a5e55aeec1a6a9edd638a0e506401febf964d2145809885b52b668ce8597eaf9c9e8cb31004e20bc2b51ceb478015473b54d362ed86a6f0350d42950ed89fe999a40f890fa2ec120cb978a38466a2bb29399ee06209f52df527a625969b510e17504b2538a6029fe33283d6c0d903bbc09999e579c069f5586c59f783e7b127293b17f05032ab1c136712a581bc93045beb167fcce98099b19963d2d7e91b47d75faf797ec13067737c8156ccd999f3ca8f454e18b34968954fb5728591e864efaf4fd665805e23b63b9de09410e8e735', 1795397546314, NULL, 0, 2);
INSERT INTO public.users VALUES ('us-east-1_FG2JA4Y0O', '6b50a701-c81b-4187-a01f-fa5a0cf71c6e', 'bo', '{"email":"bo@example.com","email_verified":"true"}', '{}', 'CONFIRMED', 0, 1795397546323, 1795397546356, '\x012328cc8baaf60ff67b5491781007c0c33b1c9f25839ee606fa5f73823c4c614ad50b9e0c519ab68ed11d1ffd6d3848194a26fc921eb45a9c385f9bfc2acb183da51c5a6b5a220cc8074fa0daf6e9abc657ce759a743b8867faf544697b79da3c14d7f31da9a39bb0065830f6614960bad8da9bb7ff7a17d72a98d7e272f57f3fdb2e807a1f14f5b96b496a43171b4bae8894c87e98b42e17186fa1849b9c3924ae029932ce484e6296d6cb7e2cf3d1c3aab792905e874aa78af6dcac5a6f6044320776aad8856a979772b1bbf85d4d511fa53f9a22b4275004e8344f1048b44b583034079592834b88b11506812f0d5992baa82571acd79c79639c587adbbfcf82f05463d246df67ccaa19d4643d3598280bee11e711b1403c1dc4398e4ef8c4988f6b7c600735f0be8c5fa813c3d59122268703946ca9e8a75299b508ef380c703a1bb7533b8cdf1548d17f6f379647e45bccbee6bcd7899159e3cc590ca26ec87e13d8fd5ec4a7d3e393d96644367c4540ed8be2210776df95f660814597a66c99952b689e4762b7b81699177ec3bf18d889a025a94a6a320120ed85f27489c3a59495255058933daef0648249e89e69a29a38ba762e421d056fb16cb969ef0ebe', 1795397546334, NULL, 1795397546356, 3);
INSERT INTO public.wrapped_keys VALUES ('2328cc8baaf60ff6', '5f81553f63de1527c84b2f8c41964ccb', '\x015f81553f63de15276132220406dc129887d00f19fe1dbb4a5b983aef783471d0bd9921f8fbe6cba79f4f68c29b742c648637e88d3b17fa72c9ed7faf7a158f1c8cf0d1b859d81cebc0f51834f8cbf620');
INSERT INTO public.wrapped_keys VALUES ('digest root', '5f81553f63de1527c84b2f8c41964ccb', '\x015f81553f63de1527a53dcb1a53726d371f865392acc14542566ed43ce7380d9efa5b2ccbb1483b7dd375bafc5a165beefca8ad8209fe2c7cc3699a4b09e315c7ec9308c94d9363171d277632d92536a6');
ALTER TABLE ONLY public.app_clients
    ADD CONSTRAINT app_clients_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.codes
    ADD CONSTRAINT codes_pkey PRIMARY KEY (pool_id, sub, purpose);
ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.deleted_pools
    ADD CONSTRAINT deleted_pools_pkey PRIMARY KEY (pool_id);
ALTER TABLE ONLY public.group_members
    ADD CONSTRAINT group_members_pkey PRIMARY KEY (pool_id, group_name, sub);
ALTER TABLE ONLY public.groups
    ADD CONSTRAINT groups_pkey PRIMARY KEY (pool_id, name);
ALTER TABLE ONLY public.hourly_counts
    ADD CONSTRAINT hourly_counts_pkey PRIMARY KEY (pool_id, subject, action);
ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.lockouts
    ADD CONSTRAINT lockouts_pkey PRIMARY KEY (pool_id, subject);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.redeemed
    ADD CONSTRAINT redeemed_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (kid);
ALTER TABLE ONLY public.token_sessions
    ADD CONSTRAINT token_sessions_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.token_sessions
    ADD CONSTRAINT token_sessions_pool_id_origin_jti_key UNIQUE (pool_id, origin_jti);
ALTER TABLE ONLY public.user_names
    ADD CONSTRAINT user_names_pkey PRIMARY KEY (pool_id, name, kind);
ALTER TABLE ONLY public.user_pools
    ADD CONSTRAINT user_pools_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.user_search
    ADD CONSTRAINT user_search_pkey PRIMARY KEY (pool_id, attribute, value, sub);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (pool_id, sub);
ALTER TABLE ONLY public.wrapped_keys
    ADD CONSTRAINT wrapped_keys_pkey PRIMARY KEY (name, master);
CREATE INDEX app_clients_by_pool ON public.app_clients USING btree (pool_id, id);
CREATE INDEX codes_by_expiry ON public.codes USING btree (expires_ms);
CREATE INDEX group_members_by_user ON public.group_members USING btree (pool_id, sub, group_name);
CREATE INDEX hourly_counts_by_window ON public.hourly_counts USING btree (window_ms);
CREATE INDEX inbox_by_destination ON public.inbox USING btree (destination, id);
CREATE INDEX inbox_by_pool ON public.inbox USING btree (pool_id, id);
CREATE INDEX lockouts_by_last_failure ON public.lockouts USING btree (last_failure_ms);
CREATE INDEX outbox_by_death ON public.outbox USING btree (dead_ms);
CREATE INDEX outbox_by_due ON public.outbox USING btree (due_ms);
CREATE INDEX redeemed_by_expiry ON public.redeemed USING btree (expires_ms);
CREATE UNIQUE INDEX signing_keys_announced ON public.signing_keys USING btree (pool_id, token_use) WHERE (active_ms IS NULL);
CREATE INDEX signing_keys_by_pool ON public.signing_keys USING btree (pool_id, kid);
CREATE INDEX signing_keys_by_retirement ON public.signing_keys USING btree (retired_ms);
CREATE UNIQUE INDEX signing_keys_current ON public.signing_keys USING btree (pool_id, token_use) WHERE ((active_ms IS NOT NULL) AND (retired_ms IS NULL));
CREATE INDEX token_sessions_by_client ON public.token_sessions USING btree (pool_id, client_id);
CREATE INDEX token_sessions_by_expiry ON public.token_sessions USING btree (expires_ms);
CREATE INDEX token_sessions_by_user ON public.token_sessions USING btree (pool_id, sub);
CREATE INDEX user_names_by_user ON public.user_names USING btree (pool_id, sub);
CREATE INDEX user_search_by_user ON public.user_search USING btree (pool_id, sub);
CREATE INDEX users_by_enabled ON public.users USING btree (pool_id, enabled, sub);
CREATE INDEX users_by_status ON public.users USING btree (pool_id, status, sub);
ALTER TABLE ONLY public.app_clients
    ADD CONSTRAINT app_clients_pool_id_fkey FOREIGN KEY (pool_id) REFERENCES public.user_pools(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.codes
    ADD CONSTRAINT codes_pool_id_sub_fkey FOREIGN KEY (pool_id, sub) REFERENCES public.users(pool_id, sub) ON DELETE CASCADE;
ALTER TABLE ONLY public.group_members
    ADD CONSTRAINT group_members_pool_id_group_name_fkey FOREIGN KEY (pool_id, group_name) REFERENCES public.groups(pool_id, name) ON DELETE CASCADE;
ALTER TABLE ONLY public.group_members
    ADD CONSTRAINT group_members_pool_id_sub_fkey FOREIGN KEY (pool_id, sub) REFERENCES public.users(pool_id, sub) ON DELETE CASCADE;
ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_pool_id_fkey FOREIGN KEY (pool_id) REFERENCES public.user_pools(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.token_sessions
    ADD CONSTRAINT token_sessions_pool_id_sub_fkey FOREIGN KEY (pool_id, sub) REFERENCES public.users(pool_id, sub) ON DELETE CASCADE;
ALTER TABLE ONLY public.user_names
    ADD CONSTRAINT user_names_pool_id_sub_fkey FOREIGN KEY (pool_id, sub) REFERENCES public.users(pool_id, sub) ON DELETE CASCADE;
ALTER TABLE ONLY public.user_search
    ADD CONSTRAINT user_search_pool_id_sub_fkey FOREIGN KEY (pool_id, sub) REFERENCES public.users(pool_id, sub) ON DELETE CASCADE;
