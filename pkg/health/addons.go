package health

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What controllers that many clusters run say of their objects. kstatus calls an
// object without a status current, and for these that is the moment before its
// controller saw it.

// unseen is an object whose controller has not written what decides.
func unseen() (Report, bool) {
	return Report{Status: Progressing, Message: "its controller has not looked at it yet"}, true
}

func by(status Status, message string) (Report, bool) {
	return Report{Status: status, Message: message}, true
}

// retried: the controller tries again by itself while Ready is False.
func retried(u *unstructured.Unstructured) (Report, bool) {
	switch c := conditionOf(u, "Ready"); c.status {
	case "":
		return unseen()
	case "True":
		return by(Healthy, c.because())
	default:
		return by(Progressing, "not ready: "+c.because())
	}
}

// certificate: cert-manager sets Issuing to False when it gave an issuance up; the
// next try is an hour or more away. One that fails to renew serves as it is.
// See https://cert-manager.io/docs/reference/api-docs (CertificateCondition).
func certificate(u *unstructured.Unstructured) (Report, bool) {
	issuing := conditionOf(u, "Issuing")
	if issuing.status == "False" && issuing.reason != "" && conditionOf(u, "Ready").status == "False" {
		return by(Degraded, "not issued: "+issuing.because())
	}
	return retried(u)
}

// certificateRequest ends once: it was denied, is invalid, or failed.
func certificateRequest(u *unstructured.Unstructured) (Report, bool) {
	for _, kind := range []string{"Denied", "InvalidRequest"} {
		if c := conditionOf(u, kind); c.status == "True" {
			return by(Degraded, join(kind, c.because()))
		}
	}
	if c := conditionOf(u, "Ready"); c.status == "False" && slices.Contains([]string{"Failed", "Denied"}, c.reason) {
		return by(Degraded, c.because())
	}
	return retried(u)
}

// rollout: its observedGeneration is text, which kstatus cannot read. A pause is
// what the strategy says, as for a Deployment; one after an analysis without a
// result is for a person to end. See argo-rollouts utils/rollout/rolloututil.go.
func rollout(u *unstructured.Unstructured) (Report, bool) {
	seen, err := strconv.ParseInt(text(u, "status", "observedGeneration"), 10, 64)
	phase, message := text(u, "status", "phase"), text(u, "status", "message")
	aborted, _, _ := unstructured.NestedBool(u.Object, "status", "abort")
	switch {
	case phase == "":
		return unseen()
	case err == nil && seen != u.GetGeneration() && u.GetGeneration() != 0:
		return by(Progressing, fmt.Sprintf("generation %d is not observed yet, %d was", u.GetGeneration(), seen))
	case aborted, phase == "Degraded", strings.Contains(message, "InconclusiveAnalysis"):
		return by(Degraded, join(phase, message))
	case phase == "Healthy", phase == "Paused":
		return by(Healthy, join(phase, message))
	}
	return by(Progressing, join(phase, message))
}

// analysis is for AnalysisRuns and Experiments, which end once.
func analysis(u *unstructured.Unstructured) (Report, bool) {
	message := join(text(u, "status", "phase"), text(u, "status", "message"))
	switch text(u, "status", "phase") {
	case "":
		return unseen()
	case "Successful":
		return by(Healthy, message)
	case "Failed", "Error", "Inconclusive":
		return by(Degraded, message)
	}
	return by(Progressing, message)
}

// final: False is a failure and Unknown the way there, as with Knative and with
// Plumb's own ApplicationSet.
// See https://github.com/knative/specs/blob/main/specs/serving/overview.md (error signalling).
func final(u *unstructured.Unstructured) (Report, bool) {
	c := conditionOf(u, "Ready")
	switch c.status {
	case "":
		return unseen()
	case "False":
		return by(Degraded, c.because())
	}
	return retried(u)
}

// flux: a suspended object is left as it is; Ready False is tried again, unless
// Stalled says otherwise, which kstatus reads. A HelmRepository of OCI has no status.
func flux(u *unstructured.Unstructured) (Report, bool) {
	suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend")
	switch {
	case suspended:
		return by(Healthy, "suspended")
	case u.GetKind() == "HelmRepository" && text(u, "spec", "type") == "oci":
		return by(Healthy, "has no status of its own")
	case conditionOf(u, "Ready").status == "":
		return unseen()
	}
	return Report{}, false
}

// argoApplication hands on what Argo CD judged.
func argoApplication(u *unstructured.Unstructured) (Report, bool) {
	status := text(u, "status", "health", "status")
	message := join(status, text(u, "status", "health", "message"))
	switch status {
	case "":
		return unseen()
	case "Healthy", "Suspended":
		return by(Healthy, message)
	case "Degraded", "Missing":
		return by(Degraded, message)
	}
	return by(Progressing, message)
}

func argoSet(u *unstructured.Unstructured) (Report, bool) {
	if c := conditionOf(u, "ErrorOccurred"); c.status == "True" {
		return by(Degraded, c.because())
	}
	if c := conditionOf(u, "ResourcesUpToDate"); c.status != "True" {
		return by(Progressing, cmp.Or(c.because(), "its Applications are not made yet"))
	}
	return by(Healthy, "its Applications are up to date")
}
