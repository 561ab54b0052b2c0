"""What can go wrong, whose fault it is, and what to do about it.

ThreatwalkError
├── UsageError            the caller's: a wrong option, parameter or value        exit 2
│   ├── AbsentError         nothing has that number or name
│   ├── ParamsError         params.yaml holds an unknown, missing or wrong value
│   ├── RightError          the person's role does not allow it
│   ├── SampleError         a text is no sample of that kind
│   └── SettingsError       an environment variable is missing or wrong
├── DataError             the input's: a document, corpus or model is not what it should be   exit 1
│   ├── DocumentError       a report cannot be read; it goes to quarantine
│   ├── AnswerError         a source's raw answer cannot be read
│   ├── ContractError       a corpus breaks the data contract: nothing is trained on it
│   └── ModelError          a stored policy does not fit this installation
├── StoreError            the machine's: disk, database or object store           exit 1
├── NoChampionError       no model is promoted yet: run retrain and promote       exit 1
└── TemporaryError        nobody's for now; the same call may work later          exit 75
    ├── UnavailableError    a source or feed cannot be reached or answers nonsense
    ├── QuotaError          a source's quota is spent until a known time
    └── BusyError           another process holds the lock or the lease
"""


class ThreatwalkError(Exception):
    """Root of the tree. Its text is one line: what happened, where, and the remedy."""

    exit_code = 1


class UsageError(ThreatwalkError):
    exit_code = 2


class AbsentError(UsageError):
    pass


class ParamsError(UsageError):
    pass


class RightError(UsageError):
    pass


class SampleError(UsageError):
    pass


class SettingsError(UsageError):
    pass


class DataError(ThreatwalkError):
    pass


class DocumentError(DataError):
    pass


class AnswerError(DataError):
    pass


class ContractError(DataError):
    pass


class ModelError(DataError):
    pass


class StoreError(ThreatwalkError):
    pass


class NoChampionError(ThreatwalkError):
    pass


class TemporaryError(ThreatwalkError):
    exit_code = 75


class UnavailableError(TemporaryError):
    pass


class QuotaError(TemporaryError):
    pass


class BusyError(TemporaryError):
    pass
