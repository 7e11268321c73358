package cluster

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestClassify(t *testing.T) {
	status := func(code int32, reason metav1.StatusReason, details *metav1.StatusDetails) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason, Message: "the message", Details: details}}
	}
	cases := map[string]struct {
		err   error
		class fault.Class
		wait  time.Duration
	}{
		"no answer":                           {errors.New("connection refused"), fault.Transient, 0},
		"429 with Retry-After":                {status(429, metav1.StatusReasonTooManyRequests, &metav1.StatusDetails{RetryAfterSeconds: 7}), fault.RetryAfter, 7 * time.Second},
		"429 without":                         {status(429, metav1.StatusReasonTooManyRequests, nil), fault.RetryAfter, time.Second},
		"503 with Retry-After":                {status(503, metav1.StatusReasonServiceUnavailable, &metav1.StatusDetails{RetryAfterSeconds: 3}), fault.RetryAfter, 3 * time.Second},
		"500":                                 {status(500, metav1.StatusReasonInternalError, nil), fault.Transient, 0},
		"500 of a manifest that does not fit": {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 500, Message: "failed to create typed patch object (a/b; /v1, Kind=ConfigMap): .dada: field not declared in schema"}}, fault.Permanent, 0},
		"504":                                 {status(504, metav1.StatusReasonTimeout, nil), fault.Transient, 0},
		"401, while a token rotates":          {status(401, metav1.StatusReasonUnauthorized, nil), fault.Transient, 0},
		"403":                                 {status(403, metav1.StatusReasonForbidden, nil), fault.Permanent, 0},
		"403 of a dying namespace":            {status(403, metav1.StatusReasonForbidden, &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "NamespaceTerminating"}}}), fault.Transient, 0},
		"404":                                 {status(404, metav1.StatusReasonNotFound, nil), fault.Transient, 0},
		"409":                                 {status(409, metav1.StatusReasonConflict, nil), fault.Transient, 0},
		"413":                                 {status(413, metav1.StatusReasonRequestEntityTooLarge, nil), fault.Permanent, 0},
		"422":                                 {status(422, metav1.StatusReasonInvalid, nil), fault.Permanent, 0},
		"400":                                 {status(400, metav1.StatusReasonBadRequest, nil), fault.Permanent, 0},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			err := classify(action{"apply", object.ID{Kind: "ConfigMap", Namespace: "a", Name: "b"}, Identity{}}, tc.err)
			class, wait := fault.ClassOf(err)
			if class != tc.class || wait != tc.wait {
				t.Errorf("%v is %s after %s, want %s after %s", err, class, wait, tc.class, tc.wait)
			}
			if !strings.HasPrefix(err.Error(), "apply ConfigMap a/b: ") {
				t.Errorf("%q does not say what was done to what", err)
			}
		})
	}
}

// TestExplain: what the API server echoes never reaches the message.
func TestExplain(t *testing.T) {
	invalid := func(causes ...metav1.StatusCause) metav1.Status {
		return metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "hunter2 is invalid", Details: &metav1.StatusDetails{Causes: causes}}
	}
	cause := func(field, message string) metav1.StatusCause {
		return metav1.StatusCause{Field: field, Message: message}
	}
	pod := object.ID{Kind: "Pod", Namespace: "a", Name: "b"}
	secret := object.ID{Kind: "Secret", Namespace: "a", Name: "b"}
	cases := map[string]struct {
		id     object.ID
		status metav1.Status
		want   string
	}{
		"a number":           {pod, invalid(cause("spec.x", "Invalid value: -1: must be positive")), "spec.x: must be positive"},
		"a text":             {pod, invalid(cause("spec.x", `Invalid value: "hunter2": must not: do`)), "spec.x: must not: do"},
		"a text with quotes": {pod, invalid(cause("spec.x", `Invalid value: "hun\": ter2": no`)), "spec.x: no"},
		"JSON":               {pod, invalid(cause("spec.x", `Invalid value: {"a":"hunter2: }"}: field is immutable`)), "spec.x: field is immutable"},
		"a list":             {pod, invalid(cause("spec.x", `Duplicate value: ["hunter2"]`)), "spec.x: duplicate value"},
		"a Go struct":        {pod, invalid(cause("spec.x", `Invalid value: v1.Env{Value:"hunter2: x"}: field is immutable`)), "spec.x: invalid value"},
		"a Go map":           {pod, invalid(cause("spec.x", `Invalid value: map[string]string{"a":"hunter2"}: no`)), "spec.x: invalid value"},
		"a broken quote":     {pod, invalid(cause("spec.x", `Invalid value: "hunter2: no`)), "spec.x: invalid value"},
		"a value left out":   {pod, invalid(cause("spec.x", "Invalid value: only one can be given")), "spec.x: only one can be given"},
		"an enum":            {pod, invalid(cause("spec.x", `Unsupported value: "hunter2": supported values: "a", "b"`)), `spec.x: supported values: "a", "b"`},
		"no value":           {pod, invalid(cause("spec.x", "Required value")), "spec.x: Required value"},
		"two causes":         {pod, invalid(cause("a", "Required value"), cause("b", "Forbidden: no"), cause("a", "Required value")), "a: Required value; b: Forbidden: no"},
		"another type": {pod, metav1.Status{Code: 500, Message: `.spec.x: expected string, got &value.valueUnstructured{Value:"hunter2"}`},
			".spec.x: expected string, got another type"},
		"an endless message": {pod, metav1.Status{Code: 400, Message: strings.Repeat("x", 5000)}, strings.Repeat("x", maxMessage) + " …"},
		"a missing namespace": {pod, metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound, Message: `namespaces "a" not found`,
			Details: &metav1.StatusDetails{Kind: "namespaces", Name: "a"}}, "namespace a does not exist; add it to the source or set destination.createNamespace"},
		"rights": {pod, metav1.Status{Code: http.StatusForbidden, Message: "pods is forbidden"}, "as system:serviceaccount:a:deployer: pods is forbidden"},
		"a Secret refused by its fields": {secret, invalid(cause("data[k]", `Invalid value: "hunter2": no`)),
			"422 Unprocessable Entity at data[k] (the message is withheld, it may quote the Secret)"},
		"a Secret refused by a webhook": {secret, metav1.Status{Code: 403, Message: "denied: hunter2 is weak"},
			"as system:serviceaccount:a:deployer: forbidden, by the rights of the account or by an admission policy (the message is withheld, it may quote the Secret)"},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			got := explain(action{"apply", tc.id, Identity{"a", "deployer"}}, tc.status)
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("the value leaked: %s", got)
			}
		})
	}
}
