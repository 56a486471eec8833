"""Who is asking: OIDC tokens in, identities out. Shared by ingress, approver, recorder and the command line.

Public names: `TokenVerifier`, `TokenRejected`, `RejectionCode`, `LocalIssuer`, `LocalKeys`, and in `settings`
the models of `identity.issuers`. docs/identity.md is the user's page.

    settings    what the configuration says          envelope    a parsed token, nothing believed
    algorithms  which key fits which algorithm       claims      the rules on times, audience, values
    keys        a JWK Set, cut down                  mapping     claims to Identity
    fetch       one bounded JSON document            cache       tokens verified a moment ago
    jwks        a remote issuer's keys over time     verifier    all of it in order
    local       the issuer for embedded use          rejection   why a token was refused
"""
