"""Follow a job, and stop it from another thread."""

# %% A job
import threading

import pyscale

data = pyscale.simulate(d_min=3.0, seed=3).job()

# %% Follow it
result = pyscale.scale(data, progress=lambda p: print(f"{100 * p.fraction:3.0f} % {p.message}"))
print(result)

# %% Stop it: here when the fit begins; a button or a signal handler would do the same
cancellation = pyscale.Cancellation()


def stop_at_the_fit(progress: pyscale.Progress) -> None:
    if progress.stage == "fit":
        threading.Thread(target=cancellation.cancel).start()


try:
    pyscale.scale(data, progress=stop_at_the_fit, cancel=cancellation)
except pyscale.Cancelled as error:
    print(error)
