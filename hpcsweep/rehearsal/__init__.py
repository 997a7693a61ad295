"""A scheduler to rehearse with: the commands of Slurm, OpenPBS or Torque, which run their jobs on this machine.

It stands apart, as ``localqueue`` does: nothing here imports the rest of hpcsweep, nor anything beyond the standard library.
``cluster`` is the pure state machine; ``face`` says what a dialect has to answer; ``server`` runs the jobs as processes.
"""
