package alert

import "github.com/plumb-gitops/plumb/pkg/fault"

// advice is one sentence on what to do, per reason.
func advice(reason fault.Reason) string {
	if sentence, known := sentences[reason]; known {
		return sentence
	}
	return "Look at `plumb events` and at the status of the Application."
}

var sentences = map[fault.Reason]string{
	fault.SourceRefused:      "Mend spec.source: this repository, ref or path is not allowed here, or not there.",
	fault.FetchFailed:        "Check that the Git server answers and that the credential of spec.source.secretRef is still good; Plumb tries again by itself.",
	fault.RenderFailed:       "Mend the file that the message names and push; `plumb render` shows the same error before a push does.",
	fault.ApplyFailed:        "Mend the object that the message names and push, or what the API server refuses it for; all that was applied before stays.",
	fault.PruneBlocked:       "Look at what would be deleted; if that is wanted, confirm it with the annotation plumb.dev/confirm-prune and the digest from the message.",
	fault.HealthFailed:       "Look at the object that the message names, its Events and logs; push a fix, or revert the commit.",
	fault.HealthTimeout:      "Look at what keeps the object that the message names from getting ready; push a fix, revert, or raise spec.sync.timeout.",
	fault.DependencyNotReady: "Look at the Application that this one depends on: it is not ready.",
	fault.OwnershipConflict:  "Decide which Application owns the object that the message names and remove it from the other one.",
	fault.AccountMissing:     "Create the service account that spec.serviceAccountName names, or set it: nothing is applied without one.",
}
