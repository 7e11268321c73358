package health

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// rule corrects kstatus for one kind. An undecided rule leaves the object to kstatus.
type rule struct {
	group, kind string
	judge       func(*unstructured.Unstructured) (report Report, decided bool)
}

// rules are the kinds about which kstatus is wrong or silent.
var rules = []rule{
	{"apps", "Deployment", deployment},
	{"apps", "StatefulSet", statefulSet},
	{"apps", "DaemonSet", daemonSet},
	{"batch", "Job", job},
	{"batch", "CronJob", cronJob},
	{"autoscaling", "HorizontalPodAutoscaler", autoscaler},
	{"", "Pod", pod},
	{"", "PersistentVolumeClaim", claim},
	{"", "Service", service},
	{"", "Namespace", namespace},
	{"apiregistration.k8s.io", "APIService", apiService},
	{"gateway.networking.k8s.io", "GatewayClass", gatewayClass},
	{"gateway.networking.k8s.io", "Gateway", gateway},
	{"gateway.networking.k8s.io", "HTTPRoute", route},
	{"gateway.networking.k8s.io", "GRPCRoute", route},
	{"gateway.networking.k8s.io", "TLSRoute", route},
	{"gateway.networking.k8s.io", "TCPRoute", route},
	{"gateway.networking.k8s.io", "UDPRoute", route},
	{"cert-manager.io", "Certificate", certificate},
	{"cert-manager.io", "CertificateRequest", certificateRequest},
	{"cert-manager.io", "Issuer", retried},
	{"cert-manager.io", "ClusterIssuer", retried},
	{"argoproj.io", "Rollout", rollout},
	{"argoproj.io", "AnalysisRun", analysis},
	{"argoproj.io", "Experiment", analysis},
	{"argoproj.io", "Application", argoApplication},
	{"argoproj.io", "ApplicationSet", argoSet},
	{"serving.knative.dev", "Service", final},
	{"serving.knative.dev", "Route", final},
	{"serving.knative.dev", "Configuration", final},
	{"serving.knative.dev", "Revision", final},
	{"kustomize.toolkit.fluxcd.io", "Kustomization", flux},
	{"helm.toolkit.fluxcd.io", "HelmRelease", flux},
	{"source.toolkit.fluxcd.io", "GitRepository", flux},
	{"source.toolkit.fluxcd.io", "OCIRepository", flux},
	{"source.toolkit.fluxcd.io", "HelmRepository", flux},
	{"source.toolkit.fluxcd.io", "HelmChart", flux},
	{"source.toolkit.fluxcd.io", "Bucket", flux},
	{"plumb.dev", "Application", application},
	{"plumb.dev", "ApplicationSet", final},
}

// terminating is for every kind: what is being deleted will not become what Git says.
func terminating(u *unstructured.Unstructured) Report {
	message := "is being deleted"
	if held := u.GetFinalizers(); len(held) > 0 {
		message += ", held by finalizers " + strings.Join(held, ", ")
	}
	return Report{Status: Progressing, Message: message}
}

// outdated is for every kind: a status of an older generation says nothing about
// this one. Controllers of custom resources may say it per condition instead.
func outdated(u *unstructured.Unstructured) (Report, bool) {
	seen, found, err := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if strings.Contains(u.GroupVersionKind().Group, ".") && (!found || err != nil) {
		seen, found = conditionOf(u, "Ready").generation, conditionOf(u, "Ready").generation != 0
	}
	if !found || err != nil || seen == u.GetGeneration() || u.GetGeneration() == 0 {
		return Report{}, false
	}
	return Report{Status: Progressing, Message: fmt.Sprintf("generation %d is not observed yet, %d was", u.GetGeneration(), seen)}, true
}

// deployment: kstatus waits forever for a paused one, and hides why Pods are refused.
func deployment(u *unstructured.Unstructured) (Report, bool) {
	if paused, _, _ := unstructured.NestedBool(u.Object, "spec", "paused"); paused {
		return Report{Status: Healthy, Message: "paused"}, true
	}
	if c := conditionOf(u, "Progressing"); c.reason == "ProgressDeadlineExceeded" {
		return Report{Status: Degraded, Message: "progress deadline exceeded: " + c.message}, true
	}
	c := conditionOf(u, "ReplicaFailure")
	if c.status != "True" {
		return Report{}, false
	}
	report := byKstatus(u)
	report.Message += ": " + c.message
	return report, true
}

// statefulSet: kstatus calls every one that updates on delete current.
func statefulSet(u *unstructured.Unstructured) (Report, bool) {
	if text(u, "spec", "updateStrategy", "type") != "OnDelete" {
		return Report{}, false
	}
	return replicas(number(u, 0, "status", "readyReplicas"), number(u, 1, "spec", "replicas")), true
}

// daemonSet: kstatus waits forever for the update of one that updates on delete.
func daemonSet(u *unstructured.Unstructured) (Report, bool) {
	_, observed, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if !observed || text(u, "spec", "updateStrategy", "type") != "OnDelete" {
		return Report{}, false
	}
	return replicas(number(u, 0, "status", "numberAvailable"), number(u, 0, "status", "desiredNumberScheduled")), true
}

func replicas(ready, want int64) Report {
	message := fmt.Sprintf("%d of %d ready", ready, want)
	if ready < want {
		return Report{Status: Progressing, Message: message}
	}
	return Report{Status: Healthy, Message: message}
}

// job: kstatus calls a running one current and waits forever for a suspended one.
func job(u *unstructured.Unstructured) (Report, bool) {
	if c := conditionOf(u, "Failed"); c.status == "True" {
		return Report{Status: Degraded, Message: "failed: " + c.because()}, true
	}
	if conditionOf(u, "Complete").status == "True" {
		return Report{}, false
	}
	if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
		return Report{Status: Healthy, Message: "suspended"}, true
	}
	return Report{Status: Progressing, Message: fmt.Sprintf("running: %d active, %d succeeded, %d failed",
		number(u, 0, "status", "active"), number(u, 0, "status", "succeeded"), number(u, 0, "status", "failed"))}, true
}

func cronJob(u *unstructured.Unstructured) (Report, bool) {
	suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend")
	return Report{Status: Healthy, Message: "suspended"}, suspended
}

// stuck are the reasons of waiting containers that waiting alone does not end.
var stuck = []string{
	"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName",
	"CreateContainerConfigError", "CreateContainerError",
}

// pod: kstatus calls a failed one current, looks at the clock for one that cannot
// be scheduled, and knows one reason for a container that does not start.
func pod(u *unstructured.Unstructured) (Report, bool) {
	phase := text(u, "status", "phase")
	if phase == "Failed" {
		return Report{Status: Degraded, Message: "failed: " + join(text(u, "status", "reason"), text(u, "status", "message"))}, true
	}
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		if message, is := stuckContainer(u, list); is {
			return Report{Status: Degraded, Message: message}, true
		}
	}
	if c := conditionOf(u, "PodScheduled"); phase == "Pending" && c.reason == "Unschedulable" {
		return Report{Status: Progressing, Message: "cannot be scheduled: " + c.message}, true
	}
	return Report{}, false
}

func stuckContainer(u *unstructured.Unstructured, list string) (string, bool) {
	for _, c := range items(u, "status", list) {
		reason, _, _ := unstructured.NestedString(c, "state", "waiting", "reason")
		if !slices.Contains(stuck, reason) {
			continue
		}
		name, _, _ := unstructured.NestedString(c, "name")
		message, _, _ := unstructured.NestedString(c, "state", "waiting", "message")
		return fmt.Sprintf("container %s: %s", name, join(reason, message)), true
	}
	return "", false
}

// claim: one whose class binds at the first consumer stays pending until a Pod
// wants it, and cannot be told from others by itself but for the annotation that
// the controller sets once it provisions. The Pods that need the volume tell
// when it does not come. Without a class nothing but a volume made by hand binds.
// See pkg/controller/volume/persistentvolume (syncUnboundClaim) in Kubernetes.
func claim(u *unstructured.Unstructured) (Report, bool) {
	switch phase := text(u, "status", "phase"); {
	case phase == "Lost":
		return Report{Status: Degraded, Message: "its volume is lost"}, true
	case phase != "Pending":
		return Report{}, false
	case text(u, "spec", "storageClassName") == "":
		return Report{Status: Progressing, Message: "waits for a volume; it names no storage class"}, true
	}
	provisioning := []string{"volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner",
		"volume.kubernetes.io/selected-node"}
	for _, key := range provisioning {
		if _, is := u.GetAnnotations()[key]; is {
			return Report{Status: Progressing, Message: "its volume is being provisioned"}, true
		}
	}
	return Report{Status: Healthy, Message: "pending until a Pod uses it"}, true
}

// service: kstatus calls a load balancer ready once it has a cluster address.
func service(u *unstructured.Unstructured) (Report, bool) {
	if text(u, "spec", "type") != "LoadBalancer" || len(items(u, "status", "loadBalancer", "ingress")) > 0 {
		return Report{}, false
	}
	return Report{Status: Progressing, Message: "waits for the address of a load balancer"}, true
}

func namespace(u *unstructured.Unstructured) (Report, bool) {
	if phase := text(u, "status", "phase"); phase != "Active" {
		return Report{Status: Progressing, Message: "phase is " + quote(phase)}, true
	}
	return Report{Status: Healthy, Message: "active"}, true
}

// apiService: until it is available, discovery of its group fails.
func apiService(u *unstructured.Unstructured) (Report, bool) {
	c := conditionOf(u, "Available")
	if c.status == "True" {
		return Report{Status: Healthy, Message: "available"}, true
	}
	return Report{Status: Progressing, Message: "not available: " + c.because()}, true
}

// application: kstatus calls one that no worker has seen yet current, and waits
// for one whose attempt failed.
func application(u *unstructured.Unstructured) (Report, bool) {
	if _, seen, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration"); !seen {
		return Report{Status: Progressing, Message: "no worker has finished an attempt yet"}, true
	}
	c := conditionOf(u, "Ready")
	if c.status == "False" {
		return Report{Status: Degraded, Message: c.because()}, true
	}
	return Report{}, false
}
