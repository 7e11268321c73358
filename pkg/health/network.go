package health

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The Gateway API: conditions of an older generation do not count, and the API
// server itself fills the first ones in as Unknown with the reason Pending.
// See https://gateway-api.sigs.k8s.io/geps/gep-1364.

// pendingReasons of a False condition are those that the next event may end.
var pendingReasons = map[string]bool{
	"Pending": true, "NotReconciled": true, "AddressNotAssigned": true, "NoResources": true, "BackendNotFound": true,
}

func gateway(u *unstructured.Unstructured) (Report, bool) {
	return conditionsInTurn(u, "", u.GetGeneration(), "Accepted", "Programmed")
}

func gatewayClass(u *unstructured.Unstructured) (Report, bool) {
	return conditionsInTurn(u, "", u.GetGeneration(), "Accepted")
}

// route is accepted or refused by each of its parents.
func route(u *unstructured.Unstructured) (Report, bool) {
	parents := items(u, "status", "parents")
	if len(parents) == 0 {
		return unseen()
	}
	worst := Report{Status: Healthy, Message: "accepted"}
	for _, parent := range parents {
		p := &unstructured.Unstructured{Object: map[string]any{"status": parent}}
		name := text(p, "status", "parentRef", "name")
		report, _ := conditionsInTurn(p, name, u.GetGeneration(), "Accepted", "ResolvedRefs")
		if report.Status.severity() > worst.Status.severity() {
			worst = report
		}
	}
	return worst, true
}

// conditionsInTurn wants all of them True and of this generation; of whom is told.
func conditionsInTurn(u *unstructured.Unstructured, of string, generation int64, kinds ...string) (Report, bool) {
	for _, kind := range kinds {
		c := conditionOf(u, kind)
		stale := c.generation != 0 && generation != 0 && c.generation != generation
		message := join(of, "not "+kind+": "+cmp.Or(c.because(), "its controller has not looked at it yet"))
		switch {
		case c.status == "True" && !stale:
		case c.status == "False" && !stale && !pendingReasons[c.reason]:
			return by(Degraded, message)
		default:
			return by(Progressing, message)
		}
	}
	return by(Healthy, "accepted")
}

// autoscaler: kstatus calls every one current. What waiting does not end is a
// spec that cannot be; a target that is not there yet is looked for again after
// 15 s, and metrics of a Pod arrive about a minute after it: neither fails a sync.
// See pkg/controller/podautoscaler/horizontal.go in Kubernetes.
func autoscaler(u *unstructured.Unstructured) (Report, bool) {
	able, active := conditionOf(u, "AbleToScale"), conditionOf(u, "ScalingActive")
	switch active.reason {
	case "InvalidSelector", "SelectorRequired", "InvalidMetricSourceType", "AmbiguousSelector":
		if active.status == "False" {
			return by(Degraded, active.because())
		}
	}
	switch {
	case able.status == "False" && (able.reason == "FailedGetScale" || able.reason == "FailedUpdateScale"):
		return by(Progressing, able.because())
	case active.status == "False":
		return by(Healthy, "does not scale now: "+active.because())
	}
	return Report{}, false
}
