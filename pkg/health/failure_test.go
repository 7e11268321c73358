package health_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/health"
)

func TestWorstPodTellsWhyItIsNotReady(t *testing.T) {
	const (
		ready    = `{phase: Running, containerStatuses: [{name: main, ready: true, state: {running: {}}}]}`
		starting = `{phase: Pending, containerStatuses: [{name: main, state: {waiting: {reason: ContainerCreating}}}]}`
		crashing = `{phase: Running, containerStatuses: [{name: side, ready: true, state: {running: {}}}, {name: main, restartCount: 3,
  state: {waiting: {reason: CrashLoopBackOff, message: back-off 40s restarting failed container=main}},
  lastState: {terminated: {exitCode: 1, reason: Error, message: "panic: x"}}}]}`
	)
	tests := map[string]struct {
		pods     []string // their status
		pod      string
		why      string // empty: nothing is found
		message  string
		logs     bool
		previous bool
	}{
		"no Pods":     {},
		"a ready one": {pods: []string{ready}},
		"one that crashes": {pods: []string{ready, crashing}, pod: "1", why: "container main: CrashLoopBackOff, restarts: 3, exit code 1 (Error)",
			message: "panic: x", logs: true, previous: true},
		"one that crashes says more than one that starts": {pods: []string{starting, crashing, crashing}, pod: "1",
			why: "container main: CrashLoopBackOff, restarts: 3, exit code 1 (Error)", message: "panic: x", logs: true, previous: true},
		"an image that is not there": {pods: []string{`{phase: Pending, containerStatuses: [{name: main, state: {waiting: {reason: ImagePullBackOff, message: "Back-off pulling image \"x\""}}}]}`},
			pod: "0", why: `container main: ImagePullBackOff: Back-off pulling image "x"`},
		"a Job's Pod that ended": {pods: []string{`{phase: Failed, containerStatuses: [{name: main, state: {terminated: {exitCode: 2, reason: Error}}}]}`},
			pod: "0", why: "container main: ended, exit code 2 (Error)", logs: true},
		"one that was killed and runs again": {pods: []string{`{phase: Running, containerStatuses: [{name: main, restartCount: 1, state: {running: {}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]}`},
			pod: "0", why: "container main: runs and is not ready, restarts: 1, exit code 137 (OOMKilled)", logs: true, previous: true},
		"one whose probe fails": {pods: []string{`{phase: Running, containerStatuses: [{name: main, ready: false, state: {running: {}}}]}`},
			pod: "0", why: "container main: runs and is not ready", logs: true},
		"an init container that fails says more than what waits for it": {pods: []string{`{phase: Pending,
  containerStatuses: [{name: main, state: {waiting: {reason: PodInitializing}}}],
  initContainerStatuses: [{name: prepare, restartCount: 2, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3, reason: Error}}}]}`},
			pod: "0", why: "container prepare: CrashLoopBackOff, restarts: 2, exit code 3 (Error)", logs: true, previous: true},
		"an init container that runs": {pods: []string{`{phase: Pending, initContainerStatuses: [{name: prepare, state: {running: {}}}]}`},
			pod: "0", why: "container prepare: still runs, and has to end before the others start", logs: true},
		"an init container that ended well": {pods: []string{`{phase: Running, initContainerStatuses: [{name: prepare, state: {terminated: {exitCode: 0, reason: Completed}}}],
  containerStatuses: [{name: main, ready: true, state: {running: {}}}]}`}},
		"one without a node": {pods: []string{starting, `{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/2 nodes are available"}]}`},
			pod: "1", why: "cannot be scheduled: 0/2 nodes are available"},
		"one that was evicted": {pods: []string{`{phase: Failed, reason: Evicted, message: low on memory}`}, pod: "0", why: "Evicted: low on memory"},
		"one that starts":      {pods: []string{starting}, pod: "0", why: "container main: ContainerCreating"},
		"a status of other types": {pods: []string{`{phase: 3, containerStatuses: [1, {name: 2, state: {waiting: 3}}]}`}, pod: "0",
			why: "not started"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var pods []unstructured.Unstructured
			for i, status := range tt.pods {
				u := unstructured.Unstructured{Object: parse(t, "{apiVersion: v1, kind: Pod, metadata: {name: x}, status: "+status+"}")}
				u.SetName(string(rune('0' + i)))
				pods = append(pods, u)
			}
			pod, why, found := health.WorstPod(pods)
			if found != (tt.why != "") {
				t.Fatalf("found: %v, %s", found, why)
			}
			if !found {
				return
			}
			if pod.GetName() != tt.pod || why.String() != tt.why || why.Message != tt.message || why.Logs != tt.logs || why.Previous != tt.previous {
				t.Errorf("Pod %s: %s %+v", pod.GetName(), why, why)
			}
		})
	}
}
