package keyservice

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

// Decision is the answer to Authorize: either [Allowed] or [Denied], and nothing else.
// Where there is an error, there is no decision: it is nil.
//
//	switch decision := decision.(type) {
//	case keyservice.Allowed:
//		send(decision.AccountID)
//	case keyservice.Denied:
//		refuse(decision.HTTPStatus(), decision.Reason)
//	}
type Decision interface{ isDecision() }

// Allowed means that the token may be used for the domain, now.
type Allowed struct {
	// KeyID is the public id of the key that the token belongs to.
	KeyID string
	// AccountID is the account that owns the key.
	AccountID string
	// Scope says which domains the key may be used for.
	Scope Scope
}

// Denied means that the token may not be used for the domain.
type Denied struct {
	// Reason says why.
	Reason Reason
	// KeyID is the public id of the key that the token belongs to. It is empty if there is no
	// such key, or if this service may not know of its account.
	KeyID string
	// AccountID is the account that owns the key. It is empty if KeyID is.
	AccountID string
}

// HTTPStatus is what to answer over HTTP: 401 if another token is needed, and otherwise 403.
func (denied Denied) HTTPStatus() int {
	switch denied.Reason {
	case ReasonMalformedToken, ReasonUnknownToken, ReasonRevoked, ReasonExpired:
		return http.StatusUnauthorized
	default:
		return http.StatusForbidden
	}
}

func (Allowed) isDecision() {}
func (Denied) isDecision()  {}

// Scope says which domains a key may be used for.
type Scope struct {
	// AllDomains means every domain that is verified for the key's account.
	AllDomains bool
	// Domain is the only domain, normalised. It is empty if AllDomains is true.
	Domain string
}

// Reason says why a token is denied. A reason that this version of the library does not know is
// the number of its value in the proto, as text.
type Reason string

// Reasons of this version. [Denied.HTTPStatus] has the status for each.
const (
	// ReasonMalformedToken means that the text is not a token. A typing error leads here.
	ReasonMalformedToken Reason = "MALFORMED_TOKEN"
	// ReasonUnknownToken means that the token belongs to no key.
	ReasonUnknownToken Reason = "UNKNOWN_TOKEN"
	// ReasonRevoked means that the key was revoked.
	ReasonRevoked Reason = "REVOKED"
	// ReasonExpired means that the key has expired.
	ReasonExpired Reason = "EXPIRED"

	// ReasonSuspended means that the key or its account is suspended.
	ReasonSuspended Reason = "SUSPENDED"
	// ReasonDomainNotAllowed means that the key is restricted to another domain.
	ReasonDomainNotAllowed Reason = "DOMAIN_NOT_ALLOWED"
	// ReasonDomainNotVerified means that the domain is not verified for the key's account.
	ReasonDomainNotVerified Reason = "DOMAIN_NOT_VERIFIED"
)

// answer is a response to a call or on a stream.
type answer interface {
	GetGranted() bool
	GetGrant() *keysv1.Grant
	GetDenial() *keysv1.Denial
}

// decisionOf reads an answer. It returns nil if that says neither, contradicts itself, or grants
// for a scope that this version of the library does not know.
func decisionOf(answer answer) Decision {
	grant, denial := answer.GetGrant(), answer.GetDenial()
	switch {
	case denial != nil && !answer.GetGranted():
		return Denied{Reason: reasonOf(denial.GetReason()), KeyID: denial.GetKeyId(), AccountID: denial.GetAccountId()}
	case grant != nil && answer.GetGranted():
		if scope := scopeOf(grant.GetScope()); scope != (Scope{}) {
			return Allowed{KeyID: grant.GetKeyId(), AccountID: grant.GetAccountId(), Scope: scope}
		}
	}
	return nil
}

func reasonOf(reason keysv1.Denial_Reason) Reason {
	name, known := keysv1.Denial_Reason_name[int32(reason)]
	if !known || reason == keysv1.Denial_REASON_UNSPECIFIED {
		return Reason(strconv.Itoa(int(reason)))
	}
	return Reason(strings.TrimPrefix(name, "REASON_"))
}

func scopeOf(scope *keysv1.Scope) Scope {
	return Scope{AllDomains: scope.GetAllDomains() != nil, Domain: scope.GetDomain()}
}
