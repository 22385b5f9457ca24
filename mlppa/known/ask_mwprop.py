"""Asks mwprop for the DM of the Galaxy; a program of its own, run by `galactic`.

Three words: the model, Galactic longitude and latitude in degrees. Prints a line with DM.
"""

import os
import sys

#: To the edge of both models, as they have it.
FAR_KPC = 50.0


def main(model: str, l_deg: float, b_deg: float) -> None:
    """Print the DM."""
    os.environ["MPLBACKEND"] = "agg"
    import numpy as np
    from mwprop.nemod import ne_input

    # The package notes the model in a file inside of itself when one is imported. A service
    # may not write there, and another process may want the other model.
    load = ne_input.loadtxt
    ne_input.loadtxt = lambda path, **options: (
        np.array(model.upper()) if "which_model" in str(path) else load(path, **options)
    )
    from mwprop.nemod import config_nemod
    from mwprop.nemod.dmdsm import dmdsm_d2dm

    if not getattr(config_nemod, f"eval_{model.upper()}"):
        sys.exit(f"mwprop did not take the model {model}: another version than 2.0?")
    dm = dmdsm_d2dm(
        np.deg2rad(l_deg),
        np.deg2rad(b_deg),
        FAR_KPC,
        ds_coarse=config_nemod.ds_coarse,
        ds_fine=config_nemod.ds_fine,
        Nsmin=10,
        d2dm_only=True,
        do_analysis=False,
    )[2]
    sys.stdout.write(f"\nDM {float(dm)}\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
