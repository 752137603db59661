"""How sure answers by marks are, made by tools/fit_base_confidence.py: do not edit."""

from __future__ import annotations

# How often the known base was the image's all the same (its name, its repository) when a seam, or a pause of a
# day, lies above it; how often a root is what its own steps say.
SEAM_ABOVE = (0.0244, 0.1366)
PAUSE_ABOVE = (0.5292, 0.7335)
ROOT_SAID = (0.8631, 0.878)
# Kind of answer: score of marks, share of right names; both rising.
NAME: dict[str, tuple[tuple[float, float], ...]] = {
    "marks official new version": ((0.7634, 0.4223), (0.926, 0.6801), (1.0578, 0.8099)),
    "marks official new plain": ((0.7536, 0.4431), (0.907, 0.5478), (1.0, 0.72), (1.1127, 0.7694)),
    "marks official old version": (
        (0.9144, 0.2503),
        (1.0209, 0.3805),
        (1.1202, 0.4653),
        (1.2146, 0.6448),
        (1.3264, 0.7627),
    ),
    "marks official old plain": ((0.9723, 0.137), (1.2113, 0.137)),
    "marks other new version": (
        (0.7722, 0.4172),
        (0.9208, 0.4644),
        (1.0639, 0.5207),
        (1.1992, 0.5207),
        (1.2547, 0.6114),
        (1.3279, 0.7608),
    ),
    "marks other new plain": (
        (0.7722, 0.4172),
        (0.9208, 0.4644),
        (1.0639, 0.5207),
        (1.1992, 0.5207),
        (1.2547, 0.6114),
        (1.3279, 0.7608),
    ),
    "marks other old version": (
        (0.7722, 0.4172),
        (0.9208, 0.4644),
        (1.0639, 0.5207),
        (1.1992, 0.5207),
        (1.2547, 0.6114),
        (1.3279, 0.7608),
    ),
    "marks other old plain": (
        (0.7722, 0.4172),
        (0.9208, 0.4644),
        (1.0639, 0.5207),
        (1.1992, 0.5207),
        (1.2547, 0.6114),
        (1.3279, 0.7608),
    ),
    "steps official new version": ((0.995, 0.7782), (1.0539, 0.7782)),
    "steps official new plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps official old version": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps official old plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other new version": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other new plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other old version": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other old plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "agreed": ((0.5275, 0.2343), (0.667, 0.2444), (0.779, 0.5973), (0.8493, 0.7598), (0.9546, 0.7807)),
}
# The same for repositories.
FAMILY: dict[str, tuple[tuple[float, float], ...]] = {
    "marks official new version": ((0.7288, 0.6703), (0.8865, 0.8698), (0.9585, 0.8698), (1.06, 0.9091)),
    "marks official new plain": (
        (0.7019, 0.6866),
        (0.8338, 0.7761),
        (0.913, 0.8825),
        (0.9595, 0.8825),
        (1.0575, 0.9189),
    ),
    "marks official old version": ((0.8386, 0.6799), (1.0877, 0.9143), (1.2708, 0.9143)),
    "marks official old plain": ((0.8335, 0.7799), (1.1436, 0.7799)),
    "marks other new version": (
        (0.7014, 0.6893),
        (0.843, 0.8278),
        (0.9445, 0.9248),
        (1.0832, 0.9313),
        (1.2602, 0.9313),
    ),
    "marks other new plain": ((0.7014, 0.6893), (0.843, 0.8278), (0.9445, 0.9248), (1.0832, 0.9313), (1.2602, 0.9313)),
    "marks other old version": (
        (0.7014, 0.6893),
        (0.843, 0.8278),
        (0.9445, 0.9248),
        (1.0832, 0.9313),
        (1.2602, 0.9313),
    ),
    "marks other old plain": ((0.7014, 0.6893), (0.843, 0.8278), (0.9445, 0.9248), (1.0832, 0.9313), (1.2602, 0.9313)),
    "steps official new version": ((1.0119, 0.8696),),
    "steps official new plain": ((1.0128, 0.88),),
    "steps official old version": ((1.0128, 0.88),),
    "steps official old plain": ((1.0128, 0.88),),
    "steps other new version": ((1.0128, 0.88),),
    "steps other new plain": ((1.0128, 0.88),),
    "steps other old version": ((1.0128, 0.88),),
    "steps other old plain": ((1.0128, 0.88),),
    "agreed": ((0.4816, 0.2871), (0.5749, 0.6994), (0.6273, 0.7089), (0.7432, 0.8118), (0.9347, 0.8571)),
}
